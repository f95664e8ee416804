/** From the host's call to the plugin's method and back. Used by the code that `opsiq plugin build` writes. */

import { Context } from './context.js';
import { Failure, toWit } from './failure.js';
import { give, host } from './host.js';
import { Promise, settle } from './promise.js';

/** `refund-charge` to `refundCharge`. */
function camel(name) {
  return name.replace(/[-_]+([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

/** The method of each name: `refundCharge`, or the name itself. */
function methods(names, of, what, where) {
  const missing = names.filter((name) => typeof (of?.[camel(name)] ?? of?.[name]) !== 'function');
  if (missing.length > 0) {
    const wanted = missing.map((name) => `${camel(name)}(ctx, ${what === 'action' ? 'params' : 'delivery'})`);
    throw new Error(`${where} lacks ${wanted.join(', ')}, which the contract declares as ${what}`);
  }
  return new Map(names.map((name) => [name, of[camel(name)] ?? of[name]]));
}

/** Runs `act` to its end, or throws the variant `failure`. */
function run(act) {
  const ended = settle(Promise.try(act));
  if (ended && 'value' in ended) return ended.value;
  const error = ended ? ended.error : Failure.internal('the action waits for something that never comes');
  if (!(error instanceof Failure) || error.kind === 'internal') tell(error);
  throw toWit(error);
}

/** A defect is told in the log, with the place it happened at. */
function tell(error) {
  const place = error instanceof Error && error.stack ? `\n${error.stack}` : '';
  host('log').write('error', `${error}${place}`.slice(0, 4000).toWellFormed());
}

/**
 * The exports of the component. `plugin` is the plugin's module: its default export has a method for each action, and
 * `webhooks`, where the contract declares any, one for each webhook. `interfaces` are what the host gives.
 */
export function serve(plugin, { actions, webhooks }, interfaces) {
  const Given = plugin.default;
  const own = typeof Given === 'function' ? new Given() : Given;
  const actionMethods = methods(actions, own, 'action', 'the default export');
  const webhookMethods = methods(webhooks, plugin.webhooks, 'webhook', 'the export `webhooks`');
  give(interfaces);

  return {
    actions: {
      invoke(action, params) {
        return run(async () => {
          const method = found(actionMethods, 'action', action);
          const result = JSON.stringify(await method.call(own, new Context(), JSON.parse(params)));
          if (result === undefined) throw Failure.internal(`the action \`${action}\` answered nothing`);
          return result;
        });
      },
    },
    webhooks: {
      receive(name, { id, headers, body }) {
        run(async () => {
          const method = found(webhookMethods, 'webhook', name);
          const given = { id, headers: Object.fromEntries(headers), body };
          await method.call(plugin.webhooks, new Context(), given);
        });
      },
    },
  };
}

/** The host asks only for names of the contract, so a missing one tells of a contract that changed after the build. */
function found(map, what, name) {
  const method = map.get(name);
  if (!method) throw Failure.internal(`the plugin was built without the ${what} \`${name}\``);
  return method;
}
