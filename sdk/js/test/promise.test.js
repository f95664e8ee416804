import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Promise as Own, settle } from '../src/promise.js';

test('callbacks run in order, inside settle', () => {
  const seen = [];
  const promise = Own.resolve(1).then((value) => { seen.push(value); return Own.resolve(2); }).then((value) => seen.push(value));
  assert.deepEqual(seen, []);
  assert.ok('value' in settle(promise));
  assert.deepEqual(seen, [1, 2]);
});

test('what never settles is told', () => {
  assert.equal(settle(new Own(() => {})), undefined);
});

test('the combinations', () => {
  const value = (promise) => settle(promise).value;
  assert.deepEqual(value(Own.all([1, Own.resolve(2)])), [1, 2]);
  assert.deepEqual(value(Own.all([])), []);
  assert.equal(settle(Own.all([1, Own.reject('no')])).error, 'no');
  assert.deepEqual(value(Own.allSettled([1, Own.reject('no')])).map((one) => one.status), ['fulfilled', 'rejected']);
  assert.equal(value(Own.any([Own.reject(1), 2])), 2);
  assert.deepEqual(settle(Own.any([Own.reject(1)])).error.errors, [1]);
  assert.equal(value(Own.race([new Own(() => {}), 3])), 3);
  assert.equal(value(Own.resolve(1).finally(() => 2)), 1);
  assert.equal(settle(Own.reject('e').finally(() => 2)).error, 'e');
  assert.equal(value(Own.try(() => 7)), 7);
});
