/** What an action throws so that its caller can act on it, and how the host's own refusals become that. */

/** Characters of a message that are passed on. */
const MESSAGE_CHARS = 2000;

/** A text that the host takes: whole characters, not endless. */
export function plain(text) {
  return String(text).slice(0, MESSAGE_CHARS).toWellFormed();
}

/** Why an action did not produce a result. Thrown; anything else that is thrown becomes `internal`. */
export class Failure extends Error {
  /** Made by the static methods. */
  constructor(kind, message, detail = {}) {
    super(message);
    this.name = 'Failure';
    this.kind = kind;
    Object.assign(this, detail);
  }

  /** The parameters make no sense to the outside system. */
  static invalid(message) {
    return new Failure('invalid', message);
  }

  /** What the parameters name does not exist. */
  static notFound(message) {
    return new Failure('not-found', message);
  }

  /** The state of the outside system does not allow it now. */
  static conflict(message) {
    return new Failure('conflict', message);
  }

  /** The outside system asks to wait; `seconds` when it said how long. */
  static rateLimited(seconds) {
    const after = Number(seconds);
    const retryAfter = seconds != null && after >= 0 && after <= 0x7fffffff ? Math.ceil(after) : undefined;
    return new Failure('rate-limited', 'the outside system asks to wait', { retryAfter });
  }

  /** The outside system failed or could not be reached. `requestSent`: whether an effect may have happened. */
  static upstream(message, { status, requestSent = true } = {}) {
    return new Failure('upstream', message, { status, requestSent });
  }

  /** A defect of the plugin. */
  static internal(message) {
    return new Failure('internal', message);
  }

  /** The host refused something: `{ rule, message, fix }`. */
  static denied({ rule, message, fix }) {
    return new Failure('denied', message, { rule, fix });
  }

  /** The same failure, its text begun with `what`. A denial and a rate limit stay as they are. */
  context(what) {
    if (this.kind === 'denied' || this.kind === 'rate-limited') return this;
    const { status, requestSent } = this;
    return new Failure(this.kind, `${what}: ${this.message}`, { status, requestSent });
  }
}

/** The variant `failure` of the WIT package, for whatever was thrown. */
export function toWit(thrown) {
  if (!(thrown instanceof Failure)) return { tag: 'internal', val: plain(describe(thrown)) };
  const message = plain(thrown.message);
  switch (thrown.kind) {
    case 'denied':
      return { tag: 'denied', val: { rule: plain(thrown.rule), message, fix: plain(thrown.fix) } };
    case 'rate-limited':
      return { tag: 'rate-limited', val: thrown.retryAfter ?? null };
    case 'upstream': {
      const status = Number.isInteger(thrown.status) && thrown.status > 0 && thrown.status < 0x10000;
      return {
        tag: 'upstream',
        val: { status: status ? thrown.status : null, requestSent: thrown.requestSent !== false, message },
      };
    }
    default:
      return { tag: thrown.kind, val: message };
  }
}

function describe(thrown) {
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message}`;
  return typeof thrown === 'object' && thrown !== null ? 'something was thrown that is no Error' : String(thrown);
}

/** Calls the host. What an interface answers instead of a value, the engine throws as the `payload` of an Error. */
function calling(call, translated) {
  try {
    return call();
  } catch (thrown) {
    const answer = thrown?.payload ?? thrown;
    throw translated(answer) ?? thrown;
  }
}

/** Calls the host; its denial becomes a Failure. */
export function asking(call) {
  return calling(call, (answer) => (typeof answer?.rule === 'string' ? Failure.denied(answer) : undefined));
}

/** Calls the host's `http`; what it answers instead becomes a Failure. */
export function exchanging(call) {
  return calling(call, (answer) => {
    const none = (message, requestSent) => Failure.upstream(message, { requestSent });
    switch (answer?.tag) {
      case 'denied':
        return Failure.denied(answer.val);
      case 'invalid':
        return Failure.internal(`the request is malformed: ${answer.val}`);
      case 'unreachable':
        return none('the outside system could not be reached', false);
      case 'timed-out':
        return none('the outside system did not answer in time', answer.val);
      case 'limit':
        return none(`the limit \`${answer.val[0]}\` was met`, answer.val[1]);
      case 'broken':
        return none('the connection broke before a whole answer had come', true);
      default:
        return undefined;
    }
  });
}

/** Calls the host's `kv`; what it answers instead becomes a Failure. */
export function storing(call) {
  return calling(call, (answer) => {
    switch (answer?.tag) {
      case 'denied':
        return Failure.denied(answer.val);
      case 'full':
        return Failure.internal(`the plugin's storage is full: ${answer.val}`);
      case 'conflict':
        return Failure.conflict(`the stored value changed meanwhile, to version ${answer.val}`);
      case 'unavailable':
        return Failure.upstream("the host's storage cannot be reached now", { requestSent: false });
      default:
        return undefined;
    }
  });
}
