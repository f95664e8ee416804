// What Slack's answers mean. It says most of its failures with status 200, `ok: false` and a word.
import { Failure } from '@opsiq/sdk';

const MISSING = ['channel_not_found', 'thread_not_found', 'message_not_found', 'user_not_found'];
const NOT_NOW = ['not_in_channel', 'is_archived', 'restricted_action', 'restricted_action_thread_locked', 'cant_post_message'];
const SENSELESS = [
  'invalid_cursor', 'invalid_limit', 'invalid_arguments', 'invalid_arg_name', 'invalid_types', 'msg_too_long', 'no_text',
];
const TOKEN = [
  'invalid_auth', 'not_authed', 'account_inactive', 'token_revoked', 'token_expired', 'missing_scope', 'no_permission',
  'not_allowed_token_type', 'access_denied',
];

/**
 * The answer, if Slack says that it is one; else the failure it means.
 *
 * @param {Promise<Response>} sent
 * @returns {Promise<any>}
 */
export async function said(sent) {
  const response = (await sent).throwForStatus();
  const answer = await response.json();
  if (answer?.ok === true) return answer;
  const word = typeof answer?.error === 'string' ? answer.error.slice(0, 80) : 'no reason';
  if (word === 'ratelimited' || word === 'rate_limited') {
    const wait = response.headers.get('retry-after');
    throw Failure.rateLimited(wait === null ? undefined : Number(wait));
  }
  const message = `Slack refused: ${word}`;
  if (MISSING.includes(word)) throw Failure.notFound(message);
  if (NOT_NOW.includes(word)) throw Failure.conflict(message);
  if (SENSELESS.includes(word)) throw Failure.invalid(message);
  if (TOKEN.includes(word)) {
    throw Failure.upstream(`${message}; the bot token is not valid or lacks a scope`, { status: response.status });
  }
  throw Failure.upstream(message, { status: response.status });
}
