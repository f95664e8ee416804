// What a plugin sees beside the language itself. The first part are the globals the SDK provides, the second the
// module `@opsiq/sdk`.

/** Sends one request through the rules of the contract; the host injects credentials. */
declare function fetch(url: string, init?: RequestInit): Promise<Response>;
interface RequestInit {
  method?: string;
  headers?: Record<string, string> | Iterable<[string, string]>;
  body?: string | Uint8Array | ArrayBuffer | URLSearchParams | null;
  /** Milliseconds for the whole exchange. */
  timeout?: number;
}
declare class Headers implements Iterable<[string, string]> {
  constructor(given?: Record<string, string> | Iterable<[string, string]>);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(act: (value: string, name: string, headers: Headers) => void): void;
  entries(): Iterator<[string, string]>;
  [Symbol.iterator](): Iterator<[string, string]>;
}
declare class Response {
  private constructor();
  readonly url: string;
  readonly status: number;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly bodyUsed: boolean;
  /** The next piece of the body, at most 64 KiB; empty at the end. */
  read(max?: number): Promise<Uint8Array>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
  json(): Promise<any>;
  /** This answer, if it is a success; else throws the failure its status means. */
  throwForStatus(): this;
}
declare class URLSearchParams implements Iterable<[string, string]> {
  constructor(given?: string | Record<string, string> | Iterable<[string, string]>);
  readonly size: number;
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  toString(): string;
  [Symbol.iterator](): Iterator<[string, string]>;
}
declare class TextEncoder {
  readonly encoding: 'utf-8';
  encode(text?: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: 'utf-8';
  readonly fatal: boolean;
  decode(input?: ArrayBuffer | ArrayBufferView): string;
}
/** The host's randomness. */
declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(view: T): T;
  randomUUID(): string;
};
/** Lines for the operator and the tenant, as `ctx.log`. */
declare const console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...said: unknown[]) => void>;
declare const performance: { now(): number };
declare function queueMicrotask(job: () => void): void;
declare function atob(text: string): string;
declare function btoa(text: string): string;

// --- module ---
/** Why an action did not produce a result. Thrown; anything else that is thrown becomes `internal`. */
export class Failure extends Error {
  private constructor();
  readonly kind: 'invalid' | 'denied' | 'not-found' | 'conflict' | 'rate-limited' | 'upstream' | 'internal';
  readonly status?: number;
  readonly requestSent?: boolean;
  readonly retryAfter?: number;
  readonly rule?: string;
  readonly fix?: string;
  /** The parameters make no sense to the outside system. */
  static invalid(message: string): Failure;
  /** What the parameters name does not exist. */
  static notFound(message: string): Failure;
  /** The state of the outside system does not allow it now. */
  static conflict(message: string): Failure;
  /** The outside system asks to wait; `seconds` when it said how long. */
  static rateLimited(seconds?: number): Failure;
  /** The outside system failed or could not be reached. `requestSent`: whether an effect may have happened. */
  static upstream(message: string, detail?: { status?: number; requestSent?: boolean }): Failure;
  /** A defect of the plugin. */
  static internal(message: string): Failure;
  /** The host refused something. */
  static denied(denial: { rule: string; message: string; fix: string }): Failure;
  /** The same failure, its text begun with `what`. */
  context(what: string): Failure;
}

export type Algorithm = 'hmac-sha256' | 'hmac-sha1';

/** An open key. The bytes stay in the host. */
export class Key {
  private constructor();
  sign(data: string | Uint8Array, algorithm?: Algorithm): Uint8Array;
  verify(data: string | Uint8Array, mac: Uint8Array, algorithm?: Algorithm): boolean;
  derive(data: string | Uint8Array, algorithm?: Algorithm): Key;
}

/** Small storage of the installation. Values are JSON; `expected` is the version that must still be there, 0 for none. */
export interface Kv {
  get(key: string): { value: any; version: number } | null;
  set(key: string, value: unknown, options?: { expected?: number }): number;
  delete(key: string, options?: { expected?: number }): void;
  keys(prefix?: string): string[];
}

/** What one call of an action is given. */
export class Context<Config = Record<string, never>> {
  private constructor();
  /** The tenant's config for this installation. */
  readonly config: Config;
  /** The invocation's id, the same that the audit log shows. */
  readonly invocationId: string;
  /** The same for every attempt at the same call; `null` for a `read`. */
  readonly idempotencyKey: string | null;
  /** Milliseconds of wall time this invocation has left. */
  readonly remainingMs: number;
  readonly kv: Kv;
  readonly log: Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void>;
  readonly audit: { emit(event: string, detail?: object): void };
  /** Opens a key that the contract declares and the action lists. */
  key(name: string): Key;
}

/** One inbound delivery whose signature the host has verified. Header names are in lower case. */
export interface Delivery {
  id: string;
  headers: Record<string, string>;
  body: Uint8Array;
}

/** `` url`https://api.example.com/orders/${id}` ``: each value stays inside one path segment. */
export function url(parts: TemplateStringsArray, ...values: Array<string | number>): string;

/** A URL with names and values added to its query; one without a value is left out. */
export function query(base: string, values: Record<string, string | number | boolean | null | undefined>): string;
