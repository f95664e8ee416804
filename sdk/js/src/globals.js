/**
 * Puts the host's clock and randomness, and the web's ordinary names, where JavaScript looks for them. Imported before
 * the plugin's own code; outside a call there is no clock, no randomness and no network to be had.
 */

import { plain } from './failure.js';
import { fetch, Headers, Response } from './fetch.js';
import { host, isServed } from './host.js';
import { later, Promise } from './promise.js';
import { TextDecoder, TextEncoder } from './text.js';
import { URLSearchParams } from './url.js';

const EngineDate = globalThis.Date;

/** The engine's own, but without arguments it is the host's now. */
function HostDate(...given) {
  if (new.target === undefined) return new HostDate().toString();
  const made = given.length === 0 ? [HostDate.now()] : given;
  return Reflect.construct(EngineDate, made, new.target);
}
HostDate.prototype = EngineDate.prototype;
Object.defineProperties(HostDate, {
  name: { value: 'Date' },
  length: { value: 7 },
  parse: { value: EngineDate.parse },
  UTC: { value: EngineDate.UTC },
  // While the plugin is built it is 1970, so that a module that looks at the clock can be loaded at all.
  now: { value: () => (isServed() ? Number(host('clock').nowMs()) : 0) },
});
EngineDate.prototype.constructor = HostDate;

/** Bytes of randomness asked for at once, since every asking is a host call. */
const POOL_BYTES = 256;
let pool = new Uint8Array(0);

/** `length` unpredictable bytes. What one call did not use up, no other sees: a call begins with an empty pool. */
export function randomBytes(length) {
  if (length > POOL_BYTES) return host('random').bytes(length);
  if (pool.length < length) pool = host('random').bytes(POOL_BYTES);
  const bytes = pool.slice(0, length);
  pool = pool.subarray(length);
  return bytes;
}

/** A number from 0 to below 1, of 53 unpredictable bits. */
function random() {
  const bytes = randomBytes(7);
  let value = bytes[0] & 0x1f;
  for (let at = 1; at < 7; at += 1) value = value * 256 + bytes[at];
  return value / 2 ** 53;
}

const crypto = Object.freeze({
  getRandomValues(view) {
    if (!ArrayBuffer.isView(view)) throw new TypeError('getRandomValues needs a typed array');
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    bytes.set(randomBytes(bytes.length));
    return view;
  },
  /** RFC 9562, version 4. */
  randomUUID() {
    const bytes = randomBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  },
});

/** Lines for the operator and the tenant. */
function line(level) {
  return (...said) => host('log').write(level, plain(said.map(shown).join(' ')));
}

function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

const console = Object.freeze({
  debug: line('debug'), log: line('info'), info: line('info'), warn: line('warn'), error: line('error'),
});

Math.random = random;
const performance = Object.freeze({ now: () => (isServed() ? Number(host('clock').monotonicNs()) / 1e6 : 0) });
const added = {
  Date: HostDate, Promise, queueMicrotask: later, crypto, console, performance, fetch, Headers, Response,
};
// What needs nothing of the host stays the engine's, where it has it.
for (const [name, value] of Object.entries({ TextEncoder, TextDecoder, URLSearchParams })) {
  if (globalThis[name] === undefined) added[name] = value;
}
for (const [name, value] of Object.entries(added)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
