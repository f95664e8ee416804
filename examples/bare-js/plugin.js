// A plugin without the SDK: the generator of componentize-qjs makes the bindings, and the code does what the WIT package
// says. A `result` of the WIT that is an error is thrown: by an import with the value as `payload`, by an export as the
// value itself.
import { config } from 'opsiq:plugin/context@0.1.0';
import { send } from 'opsiq:plugin/http@0.1.0';

/** What an import answers instead of a value, as this action's own failure. */
function failed({ payload }) {
  switch (payload?.tag) {
    case 'denied':
      return { tag: 'denied', val: payload.val };
    case 'timed-out':
      return upstream(null, payload.val, 'the server did not answer in time');
    case 'limit':
      return upstream(null, payload.val[1], `the limit ${payload.val[0]} was met`);
    case 'broken':
      return upstream(null, true, 'the connection broke');
    case 'unreachable':
      return upstream(null, false, 'the server cannot be reached');
    default:
      return { tag: 'internal', val: 'the request is malformed' };
  }
}

function upstream(status, requestSent, message) {
  return { tag: 'upstream', val: { status, requestSent, message } };
}

/** The whole body, which comes in pieces and ends with an empty one. QuickJS has no TextDecoder. */
function text(body) {
  const bytes = [];
  for (;;) {
    const piece = body.read(65536);
    if (piece.length === 0) return decodeURIComponent(escape(bytes.join('')));
    for (const byte of piece) bytes.push(String.fromCharCode(byte));
  }
}

export const actions = {
  invoke(action, params) {
    if (action !== 'get-note') throw { tag: 'internal', val: `there is no code for ${action}` };
    const { id } = JSON.parse(params);
    const url = `${JSON.parse(config())['base-url']}/notes/${id}`;
    let status, said;
    try {
      const answer = send({ method: 'GET', url, headers: [['accept', 'application/json']], body: null, timeoutMs: null });
      status = answer.status;
      said = text(answer.body);
    } catch (thrown) {
      throw failed(thrown);
    }
    if (status === 404) throw { tag: 'not-found', val: `there is no note ${id}` };
    if (status !== 200) throw upstream(status, true, 'the server answered with another status');
    return JSON.stringify({ text: JSON.parse(said).text });
  },
};
