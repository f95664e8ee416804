import { url } from '@opsiq/sdk';

/** @type {import('./types/contract').Actions} */
export default {
  async getItem(ctx, { id }) {
    const answer = await fetch(url`${ctx.config['base-url']}/items/${id}`);
    const item = await answer.throwForStatus().json();
    return { id: item.id, name: item.name };
  },

  async addItem(ctx, { name }) {
    const answer = await fetch(url`${ctx.config['base-url']}/items`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': ctx.idempotencyKey ?? '' },
      body: JSON.stringify({ name }),
    });
    const item = await answer.throwForStatus().json();
    return { id: item.id };
  },
};
