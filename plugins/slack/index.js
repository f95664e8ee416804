// Channels and messages of one Slack workspace.
import { Failure, query } from '@opsiq/sdk';
import { said } from './answers.js';

/** @type {import('./types/contract').Actions} */
export default {
  async listChannels(ctx, { private: privates = false, archived = false, limit = 100, cursor }) {
    const answer = await said(fetch(query(`${base(ctx)}/conversations.list`, {
      types: privates ? 'public_channel,private_channel' : 'public_channel',
      exclude_archived: !archived,
      limit,
      cursor,
    })));
    if (!Array.isArray(answer.channels)) throw unexpected();
    const next = answer.response_metadata?.next_cursor || null;
    // A cursor that leads to where it came from would have its caller ask for ever.
    if (next !== null && next === cursor) throw unexpected();
    return { channels: answer.channels.map(channel), next };
  },

  async postMessage(ctx, { channel: id, text, thread }) {
    const answer = await said(fetch(`${base(ctx)}/chat.postMessage`, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify({ channel: id, text, thread_ts: thread }),
    }));
    if (typeof answer.ts !== 'string' || typeof answer.channel !== 'string') throw unexpected();
    ctx.audit.emit('message.posted', { channel: answer.channel, id: answer.ts });
    return { channel: answer.channel, id: answer.ts };
  },
};

/** @type {import('./types/contract').Webhooks} */
export const webhooks = {
  // What others did in the workspace goes into the log beside what was done from here: who, where and what kind, never
  // what was said.
  events(ctx, delivery) {
    const event = parsed(delivery.body);
    if (event.type !== 'event_callback') {
      ctx.log.debug(`a delivery of ${JSON.stringify(event.type)} is left alone`);
      return;
    }
    const { type, user, channel, ts } = event.event ?? {};
    if (typeof type !== 'string') throw Failure.invalid('an event without a type');
    const detail = { id: event.event_id, type, user, channel: channel?.id ?? channel, message: ts };
    ctx.audit.emit('workspace.event', Object.fromEntries(
      Object.entries(detail).filter(([, value]) => typeof value === 'string'),
    ));
  },
};

/** @param {import('./types/contract').Context} ctx */
function base(ctx) {
  return ctx.config['base-url'].replace(/\/+$/, '');
}

/** @param {any} raw */
function channel(raw) {
  return {
    id: String(raw.id),
    name: String(raw.name),
    private: raw.is_private === true,
    archived: raw.is_archived === true,
    member: raw.is_member === true,
    topic: String(raw.topic?.value ?? ''),
    members: Number.isSafeInteger(raw.num_members) ? raw.num_members : null,
  };
}

/** @param {Uint8Array} body */
function parsed(body) {
  try {
    return Object(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)));
  } catch {
    throw Failure.invalid('a delivery that is no JSON');
  }
}

function unexpected() {
  return Failure.upstream('the answer of Slack is not as expected', { status: 200 });
}
