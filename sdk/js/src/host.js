/**
 * What the host gives this plugin: one object per imported interface, set when the plugin is served. An interface that
 * the contract does not call for is not there.
 */

let given = {};

/** Sets the host's interfaces; done once by the code that `opsiq plugin build` writes, and by tests. */
export function give(interfaces) {
  given = interfaces;
}

/** What the contract must declare before an interface is given. */
const DECLARE = {
  keys: '[[key]] with use = ["sign"], "verify" or "derive"',
  http: '[[http]] in a connector',
  kv: '[kv] in a connector',
  audit: '[[audit]]',
};

/** Whether the host can be called: while a plugin is built, it cannot. */
export function isServed() {
  return given.context !== undefined;
}

/** An interface of the host by its name in WIT. */
export function host(name) {
  const found = given[name];
  if (found) return found;
  if (!isServed()) throw new Error(`${name} belongs to a call; outside an action nothing of the host exists`);
  throw new Error(`the plugin has no ${name}: its contract must declare ${DECLARE[name] ?? name}`);
}
