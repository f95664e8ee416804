/** URLs whose variable parts cannot become anything but what they were meant to be. */

import { Failure } from './failure.js';

/** Everything but unreserved characters percent-encoded (RFC 3986 section 2.3). */
export function percent(text) {
  const encode = (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(String(text).toWellFormed()).replace(/[!'()*]/g, encode);
}

/**
 * A template tag: `` url`https://api.example.com/orders/${id}` ``. A value stays inside one path segment whatever it
 * holds; one at the very beginning is a base URL and taken as it is. Throws `invalid` for a segment that is empty, `.`
 * or `..`, which mean another path even when encoded.
 */
export function url(parts, ...values) {
  let text = parts[0];
  values.forEach((value, at) => {
    if (at === 0 && parts[0] === '') {
      text += String(value).replace(/\/+$/, '');
    } else {
      const segment = String(value ?? '');
      if (segment === '' || segment === '.' || segment === '..') {
        throw Failure.invalid('an empty value, `.` or `..` cannot be part of a path');
      }
      text += percent(segment);
    }
    text += parts[at + 1];
  });
  return text;
}

/** A URL with names and values added to its query, both percent-encoded; one without a value is left out. */
export function query(base, values) {
  let text = String(base);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === null) continue;
    text += `${text.includes('?') ? '&' : '?'}${percent(name)}=${percent(value)}`;
  }
  return text;
}

/** `application/x-www-form-urlencoded` names and values, as much of the WHATWG class as forms and queries need. */
export class URLSearchParams {
  #pairs = [];

  constructor(given = '') {
    if (typeof given === 'string') {
      for (const pair of given.replace(/^\?/, '').split('&').filter(Boolean)) {
        const [name, ...value] = pair.split('=');
        this.append(unform(name), unform(value.join('=')));
      }
    } else {
      const pairs = typeof given[Symbol.iterator] === 'function' ? given : Object.entries(given);
      for (const [name, value] of pairs) this.append(name, value);
    }
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
  }

  delete(name) {
    this.#pairs = this.#pairs.filter(([given]) => given !== name);
  }

  get(name) {
    return this.#pairs.find(([given]) => given === name)?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter(([given]) => given === name).map(([, value]) => value);
  }

  has(name) {
    return this.#pairs.some(([given]) => given === name);
  }

  set(name, value) {
    const at = this.#pairs.findIndex(([given]) => given === name);
    if (at < 0) {
      this.append(name, value);
      return;
    }
    this.#pairs[at] = [name, String(value)];
    this.#pairs = this.#pairs.filter(([given], place) => given !== name || place === at);
  }

  [Symbol.iterator]() {
    return this.#pairs.map((pair) => [...pair])[Symbol.iterator]();
  }

  toString() {
    const form = (text) => percent(text).replace(/%20/g, '+').replace(/~/g, '%7E').replace(/%2A/g, '*');
    return this.#pairs.map(([name, value]) => `${form(name)}=${form(value)}`).join('&');
  }
}

function unform(text) {
  const spaced = text.replace(/\+/g, ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
