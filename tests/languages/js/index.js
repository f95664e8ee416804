// Says in JavaScript what every language must be able to say.
import { Failure, query, url } from '@opsiq/sdk';

const ways = {
  invalid: () => { throw Failure.invalid('makes no sense'); },
  missing: () => { throw Failure.notFound('no such thing'); },
  wait: () => { throw Failure.rateLimited(7); },
  defect: () => null.none,
  text: () => { throw 'only a text'; },
  deep: () => ways.deep() + 1,
  never: () => new Promise(() => {}),
  nothing: () => undefined,
  undeclared: async () => (await fetch('https://elsewhere.example.com/')).text(),
};

/** @type {import('./types/contract').Actions} */
export default {
  tellFacts() {
    const random = [Math.random(), crypto.randomUUID()];
    return { now: Date.now(), made: new Date().toISOString(), random };
  },

  fail(ctx, { how }) {
    return ways[how]();
  },

  async sendNote(ctx, { id, text }) {
    const key = ctx.key('secret');
    const mac = key.sign(text);
    const answer = await fetch(query(url`${ctx.config['base-url']}/notes/${id}`, { q: 'a b' }), {
      method: 'POST',
      headers: { 'x-mac': btoa(String.fromCharCode(...mac)), 'x-once': ctx.idempotencyKey },
      body: text,
    });
    const said = await answer.throwForStatus().json();
    const before = ctx.kv.get('count')?.value ?? 0;
    ctx.kv.set('count', before + 1);
    ctx.audit.emit('note.sent', { id });
    ctx.log.info('sent');
    return { said, verified: key.verify(text, mac), count: before + 1, keys: ctx.kv.keys() };
  },
};
