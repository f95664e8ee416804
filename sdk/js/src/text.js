/** UTF-8, which the engine has no word for: `TextEncoder` and `TextDecoder` (WHATWG Encoding), UTF-8 only. */

export class TextEncoder {
  get encoding() {
    return 'utf-8';
  }

  encode(text = '') {
    // The engine's own loops do the work: percent-encoding is UTF-8. A lone surrogate becomes U+FFFD before.
    const units = unescape(encodeURIComponent(String(text).toWellFormed()));
    const bytes = new Uint8Array(units.length);
    for (let at = 0; at < units.length; at += 1) bytes[at] = units.charCodeAt(at);
    return bytes;
  }
}

/** Code units handed to `String.fromCharCode` at once. */
const PIECE = 4096;

export class TextDecoder {
  #fatal;
  #keepMark;

  constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
    if (!/^\s*utf-?8\s*$/i.test(label)) throw new RangeError(`only utf-8 is there, not ${label}`);
    this.#fatal = fatal;
    this.#keepMark = ignoreBOM;
  }

  get encoding() {
    return 'utf-8';
  }

  get fatal() {
    return this.#fatal;
  }

  decode(input = new Uint8Array(), { stream = false } = {}) {
    if (stream) throw new TypeError('decoding piece by piece is not there; decode the whole');
    const bytes = bytesOf(input);
    const marked = !this.#keepMark && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    const body = marked ? bytes.subarray(3) : bytes;
    const units = oneUnitEach(body);
    if (!/[\x80-\xff]/.test(units)) return units;
    try {
      return decodeURIComponent(escape(units));
    } catch {
      if (this.#fatal) throw new TypeError('not UTF-8');
      return repaired(body);
    }
  }
}

/** One code unit for each byte. */
function oneUnitEach(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return text;
}

/** Bytes that are not all UTF-8, each wrong part as U+FFFD. */
function repaired(bytes) {
  let text = '';
  let units = [];
  for (let at = 0; at < bytes.length;) {
    const [code, length] = next(bytes, at);
    at += length;
    if (code < 0) units.push(0xfffd);
    else if (code < 0x10000) units.push(code);
    else units.push(0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
    if (units.length >= PIECE) {
      text += String.fromCharCode(...units);
      units = [];
    }
  }
  return text + String.fromCharCode(...units);
}

/** The code point at `at` and its length; -1 and the length of the maximal wrong part where it is none. */
function next(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
  if (more === 0) return [-1, 1];
  let code = first & (0x3f >> more);
  for (let step = 1; step <= more; step += 1) {
    const byte = bytes[at + step];
    let least = 0x80;
    let most = 0xbf;
    if (step === 1) {
      // Overlong forms, surrogates and what lies beyond U+10FFFF are wrong from their second byte on (Unicode, table 3-7).
      if (first === 0xe0) least = 0xa0;
      if (first === 0xed) most = 0x9f;
      if (first === 0xf0) least = 0x90;
      if (first === 0xf4) most = 0x8f;
    }
    if (byte === undefined || byte < least || byte > most) return [-1, step];
    code = (code << 6) | (byte & 0x3f);
  }
  return [code, more + 1];
}

/** The bytes of a buffer or a view of one. */
export function bytesOf(data) {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError('expected bytes: an ArrayBuffer or a view of one');
}

/** Bytes of a text or of a buffer. */
export function toBytes(data) {
  return typeof data === 'string' ? new TextEncoder().encode(data) : bytesOf(data);
}
