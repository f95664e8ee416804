// An OpenID provider of others (npm oidc-provider) that signs in whoever is named, without a page. For tests.
//
// node provider.mjs MODULES SETTINGS: the folder of node_modules, and JSON: `redirect`, `secret`, `amr`, and `accounts` with
// the claims of each. Prints its issuer. Whom it signs in is `login_hint`, or the cookie `hint`.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [modules, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const require = createRequire(pathToFileURL(`${modules}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'opsiq',
    client_secret: settings.secret,
    redirect_uris: [settings.redirect],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    token_endpoint_auth_method: settings.auth ?? 'client_secret_basic',
  }],
  // Claims of scopes are told at its userinfo endpoint alone, as the standard has it, unless said otherwise.
  conformIdTokenClaims: settings.conform ?? true,
  claims: { openid: ['sub', 'amr'], email: ['email', 'email_verified'], profile: ['groups'] },
  findAccount: (_, id) => settings.accounts[id] && {
    accountId: id,
    claims: async () => ({ sub: id, ...settings.accounts[id] }),
  },
  features: { devInteractions: { enabled: false } },
  pkce: { required: () => true },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: { Interaction: 60, Grant: 60, Session: 60, AccessToken: 60, IdToken: 60, AuthorizationCode: 60 },
  cookies: { keys: ['for tests alone'] },
});

// What a page would ask and somebody would answer.
const callback = provider.callback();
server.on('request', async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return callback(request, response);
  try {
    const { params, session, prompt } = await provider.interactionDetails(request, response);
    const accountId = /(?:^|; )hint=([^;]+)/.exec(request.headers.cookie ?? '')?.[1] ?? session?.accountId;
    let result;
    if (!settings.accounts[accountId]) {
      result = { error: 'access_denied', error_description: 'nobody is there' };
    } else if (prompt.name === 'login') {
      result = { login: { accountId, amr: settings.amr } };
    } else {
      const grant = new provider.Grant({ accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope);
      result = { consent: { grantId: await grant.save() } };
    }
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});
console.log(JSON.stringify({ issuer }));
