/** What a plugin's code mostly needs. */

export { Context, Key } from './context.js';
export { Failure } from './failure.js';
export { query, url } from './url.js';
