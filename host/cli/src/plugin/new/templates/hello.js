// A first connector: greets by name, with a word it looks up when asked for another language.
import { url } from '@opsiq/sdk';

/** @type {import('./types/contract').Actions} */
export default {
  async hello(ctx, { name, language }) {
    let word = 'Hello';
    if (language) {
      const answer = await fetch(url`https://words.example.com/hello/${language}`);
      word = await answer.throwForStatus().text();
    }
    return { greeting: `${word}, ${name}!` };
  },
};
