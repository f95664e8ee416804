// Against a host made here: what the real one throws and answers, in the engine's forms.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../src/globals.js';
import { TextDecoder as Own, TextEncoder as OwnEncoder } from '../src/text.js';
import { URLSearchParams as OwnParams } from '../src/url.js';
import { Failure, query, url } from '../src/index.js';
import { serve } from '../src/serve.js';

const answered = (payload) => Object.assign(new Error('no'), { payload });
const lines = [];
let now = 1000;

/** A host with one rule of its own for `http.send`. */
function host(send) {
  return {
    context: { config: () => '{"base":"b"}', invocationId: () => 'inv', idempotencyKey: () => null, remainingMs: () => 5 },
    log: { write: (level, line) => lines.push([level, line]) },
    clock: { nowMs: () => (now += 1), monotonicNs: () => 7e6 },
    random: { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(now++ % 251)) },
    http: { send },
    keys: { Key: { open: () => { throw answered({ rule: 'key.unknown', message: 'm', fix: 'f' }); } } },
  };
}

/** Calls the one action whose code is `act`. */
function call(act, params = {}, send = undefined) {
  const { actions } = serve({ default: { doIt: act } }, { actions: ['do-it'], webhooks: [] }, host(send));
  return JSON.parse(actions.invoke('do-it', JSON.stringify(params)));
}

function failure(act, send) {
  try {
    call(act, {}, send);
  } catch (thrown) {
    return thrown;
  }
  return assert.fail('nothing was thrown');
}

/** An answer in pieces. */
function reply(status, text, headers = []) {
  const pieces = [new TextEncoder().encode(text), new Uint8Array()];
  return { status, headers, body: { read: () => pieces.shift() } };
}

test('a value goes in and comes out', () => {
  assert.deepEqual(call((ctx, { a }) => ({ a, base: ctx.config.base }), { a: 1 }), { a: 1, base: 'b' });
  assert.deepEqual(call(async () => { await null; return { late: true }; }), { late: true });
});

test('a failure keeps its meaning, anything else is internal', () => {
  const tag = (act) => failure(act).tag;
  assert.equal(tag(() => { throw Failure.invalid('x'); }), 'invalid');
  assert.equal(tag(async () => { throw Failure.notFound('x'); }), 'not-found');
  assert.deepEqual(failure(() => { throw Failure.rateLimited('30'); }), { tag: 'rate-limited', val: 30 });
  assert.deepEqual(failure(() => { throw Failure.rateLimited('soon'); }), { tag: 'rate-limited', val: null });
  assert.deepEqual(failure(() => { throw Failure.upstream('x', { status: 503 }).context('y'); }),
    { tag: 'upstream', val: { status: 503, requestSent: true, message: 'y: x' } });
  assert.equal(tag(() => null.x), 'internal');
  assert.equal(tag(() => { throw 'text'; }), 'internal');
  assert.equal(tag(() => undefined), 'internal');
  assert.equal(tag(() => new Promise(() => {})), 'internal');
  assert.ok(lines.some(([level, line]) => level === 'error' && line.includes('TypeError')));
});

test('what the host answers instead becomes a failure', () => {
  const because = (payload) => failure(() => fetch('https://a.example/'), () => { throw answered(payload); });
  const denial = { rule: 'http.no-rule', message: 'm', fix: 'f' };
  assert.deepEqual(because({ tag: 'denied', val: denial }), { tag: 'denied', val: denial });
  assert.equal(because({ tag: 'timed-out', val: true }).val.requestSent, true);
  assert.equal(because({ tag: 'unreachable' }).val.requestSent, false);
  assert.equal(because({ tag: 'limit', val: ['http.requests', false] }).val.requestSent, false);
  assert.equal(failure((ctx) => ctx.key('k')).val.rule, 'key.unknown');
});

test('a request and its answer', () => {
  let sent;
  const send = (request) => { sent = request; return reply(200, '{"ü":1}', [['X-A', '1']]); };
  const result = call(async () => {
    const answer = await fetch(url`https://a.example/x/${'a/b'}`, {
      method: 'post', headers: { 'X-B': '2' }, body: new URLSearchParams({ q: 'a b&c' }), timeout: 1.5,
    });
    return { ok: answer.ok, a: answer.headers.get('x-a'), ...await answer.json() };
  }, {}, send);
  assert.deepEqual(result, { ok: true, a: '1', ü: 1 });
  assert.deepEqual([sent.method, sent.url, sent.timeoutMs], ['POST', 'https://a.example/x/a%2Fb', 2]);
  assert.equal(new TextDecoder().decode(sent.body), 'q=a+b%26c');
  assert.deepEqual(sent.headers[0], ['x-b', '2']);
});

test('what an unsuccessful answer means', () => {
  const meant = (...answer) => failure(async () => (await fetch('https://a.example/')).throwForStatus(), () => reply(...answer));
  assert.equal(meant(404, '').tag, 'not-found');
  assert.deepEqual(meant(429, '', [['Retry-After', '7']]), { tag: 'rate-limited', val: 7 });
  assert.deepEqual(meant(500, '{"error":{"message":"broken\\n"}}').val,
    { status: 500, requestSent: true, message: 'GET a.example answered 500: broken' });
});

test('a value stays one segment', () => {
  assert.equal(url`${'https://a.example/api/'}/orders/${'../x?y#z'}`, 'https://a.example/api/orders/..%2Fx%3Fy%23z');
  for (const harmful of ['', '.', '..', undefined]) assert.throws(() => url`https://a/${harmful}`, { kind: 'invalid' });
  assert.equal(query('https://a/x', { q: 'a&b', none: undefined, n: 3 }), 'https://a/x?q=a%26b&n=3');
});

test("clock and randomness are the host's", () => {
  const [first, second] = [0, 1].map(() => call(() => ({ now: Date.now(), made: new Date().getTime(), r: Math.random(), id: crypto.randomUUID() })));
  assert.ok(first.now < second.now && first.made < second.made);
  assert.notEqual(first.r, second.r);
  assert.match(first.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Date(0).toISOString(), '1970-01-01T00:00:00.000Z');
  assert.ok(new Date() instanceof Date);
});

test('what is missing is told before anything runs', () => {
  assert.throws(() => serve({ default: {} }, { actions: ['do-it'], webhooks: [] }, host()), /doIt\(ctx, params\)/);
});

test('texts and bytes', () => {
  for (const text of ['', 'plain', 'Grüße 🙂', '\ud800']) {
    assert.equal(new Own().decode(new OwnEncoder().encode(text)), text.toWellFormed());
  }
  assert.equal(new Own().decode(Uint8Array.of(0x61, 0xe2, 0x82, 0x62, 0xff)), 'a\ufffdb\ufffd');
  assert.equal(`${new OwnParams({ q: 'a b&c' })}`, 'q=a+b%26c');
  assert.throws(() => new Own('utf-8', { fatal: true }).decode(Uint8Array.of(0xff)));
});
