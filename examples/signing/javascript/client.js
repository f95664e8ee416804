// Signs a request and verifies the signed reply: npm install
const { createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } = require('node:crypto');
const { httpbis } = require('http-message-signatures');

const { OPSIQ_URL, OPSIQ_BODY, OPSIQ_KEY_ID, OPSIQ_CLIENT_SECRET } = process.env;

// The bytes of the text are the key.
const hmac = (data) => createHmac('sha256', OPSIQ_CLIENT_SECRET).update(data).digest();
const digest = (body) => `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;

// What binds a reply to its request.
const BOUND = ['"@status"', '"content-digest"', '"@method";req', '"@target-uri";req', '"signature";req'];

async function main() {
  const request = await httpbis.signMessage(
    {
      key: { id: OPSIQ_KEY_ID, alg: 'hmac-sha256', sign: async (data) => hmac(data) },
      fields: ['@method', '@target-uri', 'content-digest', 'idempotency-key'],
      params: ['created', 'nonce', 'keyid', 'alg'],
      paramValues: { nonce: randomBytes(24).toString('base64url') },
    },
    {
      method: 'POST',
      url: OPSIQ_URL,
      headers: {
        'content-type': 'application/json',
        'content-digest': digest(OPSIQ_BODY),
        'idempotency-key': `"${randomUUID()}"`,
      },
    },
  );

  const reply = await fetch(request.url, { method: 'POST', headers: request.headers, body: OPSIQ_BODY });
  const body = Buffer.from(await reply.arrayBuffer());
  const headers = Object.fromEntries(reply.headers);
  if (!headers.signature) throw new Error(`${reply.status} ${body}`);

  if (!BOUND.every((component) => headers['signature-input'].includes(component))) throw new Error('the reply covers less');
  const verified = await httpbis.verifyMessage(
    {
      requiredParams: ['created', 'keyid'],
      maxAge: 300,
      tolerance: 5,
      keyLookup: async ({ keyid }) =>
        keyid === OPSIQ_KEY_ID
          ? { id: keyid, algs: ['hmac-sha256'], verify: async (data, mac) => timingSafeEqual(hmac(data), mac) }
          : null,
    },
    { status: reply.status, headers },
    request,
  );
  if (verified !== true || headers['content-digest'] !== digest(body)) throw new Error('the reply is not the host’s');
  console.log(reply.status, body.toString());
}

main().catch((error) => {
  console.error(String(error.message));
  process.exitCode = 1;
});
