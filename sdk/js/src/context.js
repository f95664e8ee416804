/** What one call of an action is given: facts about it, and every means the contract grants. */

import { asking, plain, storing } from './failure.js';
import { host } from './host.js';
import { TextDecoder, TextEncoder, toBytes } from './text.js';

/** An open key. The bytes stay in the host; what can be done with it is what the contract's `use` says. */
export class Key {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** The HMAC of `data` (a text or bytes) under the newest live version. */
  sign(data, algorithm = 'hmac-sha256') {
    return asking(() => this.#key.sign(algorithm, toBytes(data)));
  }

  /** Whether `mac` is the HMAC of `data` under any live version, compared in constant time. */
  verify(data, mac, algorithm = 'hmac-sha256') {
    return asking(() => this.#key.verify(algorithm, toBytes(data), toBytes(mac)));
  }

  /** The key whose bytes are the HMAC of `data`: one step of a chain as AWS Signature Version 4 makes it. */
  derive(data, algorithm = 'hmac-sha256') {
    return new Key(asking(() => this.#key.derive(algorithm, toBytes(data))));
  }
}

/** Small storage of the installation: sealed at rest, shared by nobody else. Values are JSON. */
class Kv {
  /** `{ value, version }`, or `null` where nothing is. */
  get(key) {
    const entry = storing(() => host('kv').get(key));
    return entry && { value: JSON.parse(new TextDecoder().decode(entry.value)), version: Number(entry.version) };
  }

  /** Stores `value` and answers its version; with `expected`, only while that is the version (0: nothing is there). */
  set(key, value, { expected } = {}) {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    return Number(storing(() => host('kv').set(key, bytes, expected ?? null)));
  }

  /** Deletes `key`; deleting what is not there succeeds. */
  delete(key, { expected } = {}) {
    storing(() => host('kv').delete(key, expected ?? null));
  }

  /** Every key that begins with `prefix`, in byte order. One host call per hundred keys. */
  keys(prefix = '') {
    const keys = [];
    for (;;) {
      const page = storing(() => host('kv').listKeys(prefix, keys.at(-1) ?? null));
      if (page.length === 0) return keys;
      keys.push(...page);
    }
  }
}

export class Context {
  #config;
  kv = new Kv();

  /** Lines for the operator and the tenant, kept with the invocation. */
  log = Object.freeze(Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map((level) => [level, (said) => host('log').write(level, plain(said))]),
  ));

  audit = Object.freeze({
    /** Puts an event of the contract into the tenant's audit log. `detail`: an object of at most 16 KiB as JSON. */
    emit: (event, detail = {}) => asking(() => host('audit').emit(event, JSON.stringify(detail))),
  });

  /** The tenant's config for this installation, valid against the contract's schema. */
  get config() {
    this.#config ??= JSON.parse(host('context').config());
    return this.#config;
  }

  /** The invocation's id, the same that the audit log shows. */
  get invocationId() {
    return host('context').invocationId();
  }

  /** The same for every attempt at the same call, to be passed to an outside system; `null` for a `read`. */
  get idempotencyKey() {
    return host('context').idempotencyKey() ?? null;
  }

  /** Milliseconds of wall time this invocation has left. */
  get remainingMs() {
    return Number(host('context').remainingMs());
  }

  /** Opens a key that the contract declares and the action lists. */
  key(name) {
    return new Key(asking(() => host('keys').Key.open(name)));
  }
}
