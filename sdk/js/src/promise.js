/**
 * Promises whose callbacks run when the SDK says so.
 *
 * The host calls an action and expects its answer at once; the engine underneath would run what awaits only after the
 * call has ended. So `async` functions are built as generators over this class, and `settle` runs the callbacks inside
 * the call until the answer is there. The behaviour is Promises/A+ and the methods are the language's own.
 */

/** What is still to run, in order. */
let queue = [];

const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

/** Runs `job` before the action's answer is given, after all that was put off before it. */
export function later(job) {
  if (typeof job !== 'function') throw new TypeError('a callback must be a function');
  queue.push(job);
}

/**
 * Runs callbacks until `promise` is settled. Answers `{ value }`, `{ error }`, or nothing where all has run and the
 * promise still waits: nothing outside a call could ever settle it.
 */
export function settle(promise) {
  let ended;
  promise.then((value) => (ended = { value }), (error) => (ended = { error }));
  for (let at = 0; at < queue.length && !ended; at += 1) {
    const job = queue[at];
    queue[at] = undefined;
    job();
  }
  queue = [];
  return ended;
}

export class Promise {
  #state = PENDING;
  #value;
  #waiting = [];

  constructor(executor) {
    if (typeof executor !== 'function') throw new TypeError('Promise needs a function');
    const { resolve, reject } = this.#resolvers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  static get [Symbol.species]() {
    return this;
  }

  get [Symbol.toStringTag]() {
    return 'Promise';
  }

  /** Two functions of which the first call counts. */
  #resolvers() {
    let done = false;
    const once = (act) => (value) => {
      if (done) return;
      done = true;
      act(value);
    };
    return {
      resolve: once((value) => this.#resolve(value)),
      reject: once((error) => this.#end(REJECTED, error)),
    };
  }

  /** The resolution procedure, Promises/A+ 2.3. */
  #resolve(value) {
    if (value === this) {
      this.#end(REJECTED, new TypeError('a promise cannot wait for itself'));
      return;
    }
    if ((typeof value !== 'object' || value === null) && typeof value !== 'function') {
      this.#end(FULFILLED, value);
      return;
    }
    let then;
    try {
      then = value.then;
    } catch (error) {
      this.#end(REJECTED, error);
      return;
    }
    if (typeof then !== 'function') {
      this.#end(FULFILLED, value);
      return;
    }
    later(() => {
      const { resolve, reject } = this.#resolvers();
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #end(state, value) {
    this.#state = state;
    this.#value = value;
    for (const job of this.#waiting) later(job);
    this.#waiting = [];
  }

  then(fulfilled, rejected) {
    return new this.constructor((resolve, reject) => {
      const job = () => {
        const handler = this.#state === FULFILLED ? fulfilled : rejected;
        if (typeof handler !== 'function') {
          (this.#state === FULFILLED ? resolve : reject)(this.#value);
          return;
        }
        try {
          resolve(handler(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === PENDING) this.#waiting.push(job);
      else later(job);
    });
  }

  catch(rejected) {
    return this.then(undefined, rejected);
  }

  finally(act) {
    if (typeof act !== 'function') return this.then(act, act);
    const First = this.constructor;
    return this.then(
      (value) => First.resolve(act()).then(() => value),
      (error) => First.resolve(act()).then(() => { throw error; }),
    );
  }

  static resolve(value) {
    if (value instanceof Promise && value.constructor === this) return value;
    return new this((resolve) => resolve(value));
  }

  static reject(error) {
    return new this((_, reject) => reject(error));
  }

  static withResolvers() {
    let resolve;
    let reject;
    const promise = new this((yes, no) => { resolve = yes; reject = no; });
    return { promise, resolve, reject };
  }

  static try(act, ...args) {
    return new this((resolve) => resolve(act(...args)));
  }

  static all(values) {
    return this.#gather(values, (slots) => ({ fulfilled: slots.fill, rejected: slots.reject }));
  }

  static allSettled(values) {
    return this.#gather(values, (slots) => ({
      fulfilled: (value) => slots.fill({ status: 'fulfilled', value }),
      rejected: (reason) => slots.fill({ status: 'rejected', reason }),
    }));
  }

  static any(values) {
    return new this((resolve, reject) => {
      const inverted = [...values].map((value) => this.resolve(value).then(
        (value) => { throw { value }; },
        (error) => error,
      ));
      this.all(inverted).then(
        (errors) => reject(new AggregateError(errors, 'all promises were rejected')),
        ({ value }) => resolve(value),
      );
    });
  }

  static race(values) {
    return new this((resolve, reject) => {
      for (const value of values) this.resolve(value).then(resolve, reject);
    });
  }

  /** Waits for every value, each in the slot of its place. */
  static #gather(values, handlers) {
    return new this((resolve, reject) => {
      const results = [];
      let open = 1;
      const close = () => { open -= 1; if (open === 0) resolve(results); };
      let at = 0;
      for (const value of values) {
        const place = at;
        at += 1;
        open += 1;
        const fill = (result) => { results[place] = result; close(); };
        const { fulfilled, rejected } = handlers({ fill, reject });
        this.resolve(value).then(fulfilled, rejected);
      }
      close();
    });
  }
}
