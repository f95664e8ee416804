/**
 * `fetch` over the host's `http`. Requests go through the rules of the contract and nothing else; credentials are
 * injected by the host and never pass through here. A host call waits for its answer, so several requests go one after
 * the other, whatever waits for them.
 */

import { exchanging, Failure } from './failure.js';
import { host } from './host.js';
import { Promise } from './promise.js';
import { bytesOf, TextDecoder, TextEncoder } from './text.js';

/** Bytes asked for at once; the host gives at most as many. */
const PIECE = 64 * 1024;

/** Characters of the reason in a failed answer that are passed on. */
const REASON_CHARS = 300;

/** Header names and values; names without case. */
export class Headers {
  #pairs = [];

  constructor(given = []) {
    const pairs = typeof given[Symbol.iterator] === 'function' ? given : Object.entries(given);
    for (const [name, value] of pairs) this.append(name, value);
  }

  append(name, value) {
    this.#pairs.push([String(name).toLowerCase(), String(value).trim()]);
  }

  delete(name) {
    this.#pairs = this.#pairs.filter(([given]) => given !== name.toLowerCase());
  }

  get(name) {
    const values = this.#pairs.filter(([given]) => given === name.toLowerCase()).map(([, value]) => value);
    return values.length ? values.join(', ') : null;
  }

  has(name) {
    return this.get(name) !== null;
  }

  set(name, value) {
    this.delete(name);
    this.append(name, value);
  }

  forEach(act) {
    for (const [name, value] of this) act(value, name, this);
  }

  entries() {
    return this.#pairs.map((pair) => [...pair])[Symbol.iterator]();
  }

  [Symbol.iterator]() {
    return this.entries();
  }
}

/** An answer of the outside system. */
export class Response {
  #answer;
  #asked;
  #used = false;

  /** Made by `fetch`. `asked`: method and host, no more, since a path may name a person. */
  constructor(answer, url, asked) {
    this.#answer = answer;
    this.#asked = asked;
    this.url = url;
    this.status = answer.status;
    this.headers = new Headers(answer.headers);
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  get bodyUsed() {
    return this.#used;
  }

  /** The next piece of the body, at most 64 KiB; empty at the end. For answers too large to hold whole. */
  async read(max = PIECE) {
    this.#used = true;
    return exchanging(() => this.#answer.body.read(Math.min(max, PIECE)));
  }

  async bytes() {
    if (this.#used) throw new TypeError('the body was read already');
    return this.#whole();
  }

  async arrayBuffer() {
    return (await this.bytes()).buffer;
  }

  async text() {
    return new TextDecoder().decode(await this.bytes());
  }

  async json() {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      const message = `the answer to ${this.#asked} is not as expected: ${error.message}`;
      throw Failure.upstream(message, { status: this.status });
    }
  }

  /**
   * This answer, if it is a success; else throws the failure it means: 404 `not-found`, 409 `conflict`, 422 `invalid`,
   * 429 `rate-limited` with the seconds of `retry-after`, every other status `upstream`, with the reason the answer
   * gives where it is JSON with a `detail`, `message`, `error` or `title`.
   */
  throwForStatus() {
    const { status } = this;
    if (status < 300) return this;
    if (status === 429) throw Failure.rateLimited(seconds(this.headers.get('retry-after')));
    const reason = this.#used ? undefined : this.#reason();
    const message = `${this.#asked} answered ${status}${reason ? `: ${reason}` : ''}`;
    if (status === 404) throw Failure.notFound(message);
    if (status === 409) throw Failure.conflict(message);
    if (status === 422) throw Failure.invalid(message);
    throw Failure.upstream(message, { status });
  }

  #whole() {
    this.#used = true;
    const pieces = [];
    let length = 0;
    for (;;) {
      const piece = exchanging(() => this.#answer.body.read(PIECE));
      if (piece.length === 0) break;
      pieces.push(piece);
      length += piece.length;
    }
    if (pieces.length === 1) return pieces[0];
    const whole = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  #reason() {
    let said;
    try {
      said = JSON.parse(new TextDecoder().decode(this.#whole()));
    } catch {
      return undefined;
    }
    for (const name of ['detail', 'message', 'error_description', 'error', 'title']) {
      const value = typeof said?.[name] === 'object' ? said[name]?.message : said?.[name];
      if (typeof value === 'string') return value.replace(/[\u0000-\u001f\u007f-\u009f]/gu, ' ').slice(0, REASON_CHARS).trim();
    }
    return undefined;
  }
}

/** The seconds of a `retry-after` that are a number. */
function seconds(text) {
  return /^\d+$/.test(text ?? '') ? Number(text) : undefined;
}

/**
 * Sends one request. `init`: `method`, `headers`, `body` (a text, bytes, or URLSearchParams) and `timeout` in
 * milliseconds. An answer that reports a failure is no error here; no answer is a `Failure` that says whether the
 * request was sent.
 */
export function fetch(url, init = {}) {
  return new Promise((resolve) => {
    const method = (init.method ?? 'GET').toUpperCase();
    const headers = new Headers(init.headers);
    const body = encoded(init.body, headers);
    const target = String(url);
    const request = {
      method,
      url: target,
      headers: [...headers],
      body,
      timeoutMs: init.timeout === undefined ? null : Math.min(Math.max(Math.round(init.timeout), 0), 0x7fffffff),
    };
    const answer = exchanging(() => host('http').send(request));
    resolve(new Response(answer, target, `${method} ${authority(target)}`));
  });
}

function encoded(body, headers) {
  if (body === undefined || body === null) return null;
  const typed = (type) => headers.has('content-type') || headers.set('content-type', type);
  if (typeof body === 'string') {
    typed('text/plain;charset=UTF-8');
    return new TextEncoder().encode(body);
  }
  if (body instanceof globalThis.URLSearchParams) {
    typed('application/x-www-form-urlencoded;charset=UTF-8');
    return new TextEncoder().encode(body.toString());
  }
  return bytesOf(body);
}

function authority(target) {
  return target.split('://')[1]?.split(/[/?#]/)[0] ?? '';
}
