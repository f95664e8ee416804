// Passkeys as a real browser makes and shows them: Chromium with an authenticator of its own, over the real port. It is given a folder of
// modules, the browser, and what to do, as JSON; each step is asserted, and said.
import assert from "node:assert/strict";
import { createHash, createHmac, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [modules, executablePath, settings] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const { origin, certificate, invitations, other } = JSON.parse(settings);

const done = (step) => console.log(`ok: ${step}`);
const password = "seven otters crossed the weir";

// RFC 6238, so many steps from now.
function totp(seed, steps) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...seed].map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const moment = Buffer.alloc(8);
  moment.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const hash = createHmac("sha1", key).update(moment).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1000000).padStart(6, "0");
}

const spki = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: "spki", format: "der" });
const trusted = createHash("sha256").update(spki).digest("base64");
// The browser refuses passkeys where a certificate is in doubt, so this one key is trusted, and no error is passed over.
const browser = await chromium.launch({
  executablePath, args: ["--no-sandbox", `--ignore-certificate-errors-spki-list=${trusted}`],
});

// A browser of one person, with an authenticator that counts and knows them.
async function person() {
  const page = await (await browser.newContext()).newPage();
  const faults = [];
  page.on("console", (said) => { if (/Content Security Policy|Trusted/i.test(said.text())) faults.push(said.text()); });
  page.on("dialog", (dialog) => dialog.accept(dialog.type() === "prompt" ? "Renamed" : undefined));
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${origin}/sign-in`);
  const ask = (method, path, body) => page.evaluate(async ([method, path, body]) => {
    const headers = body ? { "content-type": "application/json" } : {};
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, body: answer.status === 204 ? null : await answer.json() };
  }, [method, path, body]);
  const is = async (status, ...request) => {
    const came = await ask(...request);
    assert.equal(came.status, status, JSON.stringify([request, came]));
    return came.body;
  };
  const credentials = async () => (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  return { page, cdp, authenticatorId, ask, is, credentials, faults };
}

async function enrolled(someone, invitation) {
  const { seed, pending } = await someone.is(200, "POST", "/v1/invitations/accept", { invitation, password });
  await someone.is(200, "POST", "/v1/invitations/enrol", { pending, code: totp(seed, 0) });
  return seed;
}

// With password and code, on the page, as a person does it.
async function typedIn(someone, tenant, user, seed) {
  const { page } = someone;
  await page.goto(`${origin}/sign-in`);
  await page.fill("[name=tenant]", tenant);
  await page.fill("[name=user]", user);
  await page.fill("[name=password]", password);
  await page.click("#password button");
  await page.waitForSelector("#code:not([hidden])");
  await page.fill("#code [name=code]", totp(seed, 1));
  await Promise.all([page.waitForURL("**/passkeys"), page.click("#code button")]);
  await page.waitForSelector("#enrol:not([hidden])");
}

async function added(someone, name) {
  await someone.page.fill("#enrol [name=name]", name);
  await someone.page.click("#enrol button");
  await someone.page.waitForSelector(`#passkeys li strong:text-is("${name}")`);
}

// Signs in by the page's button; what was sent.
async function keyedIn(someone) {
  const { page } = someone;
  await page.goto(`${origin}/sign-in`);
  const sent = page.waitForRequest((request) => request.url() === `${origin}/v1/login/passkey`);
  await page.click("#passkey");
  return (await sent).postDataJSON();
}

async function letIn(someone) {
  const sent = await keyedIn(someone);
  await someone.page.waitForURL("**/passkeys");
  return sent;
}

async function keptOut(someone) {
  const sent = await keyedIn(someone);
  await someone.page.waitForFunction(() => document.getElementById("told").textContent !== "");
  assert.match(await someone.page.textContent("#told"), /opens no account here/);
  assert.equal((await someone.ask("GET", "/v1/me")).status, 401);
  return sent;
}

// Makes the authenticator show a key outside the page's own script; what the API takes.
const shownBy = (someone, begun, credential) => someone.page.evaluate(async ([{ pending, options }, credential]) => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer ?? [])))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const allow = credential ? [{ type: "public-key", id: bytes(credential) }] : [];
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: allow };
  const { rawId, response } = await navigator.credentials.get({ publicKey });
  return {
    pending, credential: text(rawId), user_handle: text(response.userHandle),
    client_data: text(response.clientDataJSON), authenticator_data: text(response.authenticatorData),
    signature: text(response.signature),
  };
}, [begun, credential]);

const url = (base64) => base64.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const rules = async (owner) => {
  const { items } = await owner.is(200, "GET", "/v1/audit?kind=refused&limit=50");
  return items.map((entry) => entry.fields.rule);
};

try {
  const ada = await person();
  const adaSeed = await enrolled(ada, invitations.ada);
  await typedIn(ada, "acme", "ada", adaSeed);
  await added(ada, "My laptop");
  assert.equal((await ada.credentials()).length, 1);
  const [key] = await ada.credentials();
  assert.ok(key.isResidentCredential && key.rpId === "localhost");
  done("enrolled on the page, discoverable");

  const again = await ada.is(200, "POST", "/v1/me/passkeys/begin");
  assert.deepEqual(again.options.excludeCredentials.map((one) => one.id), [url(key.credentialId)]);
  assert.equal(again.options.attestation, "none");
  assert.equal(again.options.authenticatorSelection.userVerification, "required");
  done("a second one of the same authenticator is excluded");

  await ada.is(204, "POST", "/v1/logout");
  const sent = await letIn(ada);
  assert.equal((await ada.is(200, "GET", "/v1/me")).user, "ada");
  done("signed in without a name or a password");

  // The same answer once more, in another browser.
  const eve = await person();
  assert.equal((await eve.ask("POST", "/v1/login/passkey", sent)).body.rule, "passkey.failed");
  assert.ok((await rules(ada)).includes("passkey.replayed"));
  assert.equal((await ada.is(200, "GET", "/v1/me/passkeys"))[0].cloned, false, "what is replayed flags nothing");
  done("a replayed answer is refused, and said to the owners");

  // Nobody knows this browser, so what is grave waits for a factor anew.
  assert.equal((await ada.ask("POST", "/v1/me/recovery-codes")).body.rule, "session.step-up-needed");
  await ada.page.fill("#enrol [name=name]", "Another");
  await ada.page.click("#enrol button");
  await ada.page.waitForSelector("#step-up:not([hidden])");
  await ada.page.click("#step-up-passkey");
  await ada.page.waitForSelector("#step-up", { state: "hidden" });
  const codes = (await ada.is(200, "POST", "/v1/me/recovery-codes")).recovery_codes;
  assert.equal(codes.length, 10);
  done("stepped up by passkey on the page");

  await ada.page.click('button[aria-label="Rename My laptop"]');
  await ada.page.waitForSelector('#passkeys li strong:text-is("Renamed")');
  done("renamed on the page");

  // Somebody else's passkey, of the same tenant.
  const bob = await person();
  await enrolled(bob, invitations.bob).then((seed) => typedIn(bob, "acme", "bob", seed));
  await added(bob, "Phone");
  const [bobs] = await bob.credentials();
  await ada.cdp.send("WebAuthn.addCredential", { authenticatorId: ada.authenticatorId, credential: bobs });
  const begun = await ada.is(200, "POST", "/v1/login/step-up/passkey/begin");
  assert.deepEqual(begun.options.allowCredentials.map((one) => one.id), [url(key.credentialId)]);
  const foreign = await shownBy(ada, begun, url(bobs.credentialId));
  assert.equal((await ada.ask("POST", "/v1/login/step-up/passkey", foreign)).body.rule, "passkey.unknown");
  await ada.cdp.send("WebAuthn.removeCredential", {
    authenticatorId: ada.authenticatorId, credentialId: bobs.credentialId,
  });
  done("another's passkey steps nobody up");

  // An answer to what another session was asked.
  const bobsAsked = await bob.is(200, "POST", "/v1/login/step-up/passkey/begin");
  const crossed = await shownBy(ada, { ...begun, pending: bobsAsked.pending }, url(key.credentialId));
  assert.equal((await ada.ask("POST", "/v1/login/step-up/passkey", crossed)).body.rule, "login.over");
  done("an answer counts in the session that asked");

  // The same key, said to be of another tenant.
  const asked = await eve.is(200, "POST", "/v1/login/passkey/begin");
  const right = await shownBy(ada, asked);
  const handle = Buffer.from(right.user_handle, "base64url");
  const elsewhere = Buffer.concat([Buffer.from(other.padEnd(64, "_"), "base64url"), handle.subarray(48)]);
  const moved = { ...right, user_handle: elsewhere.toString("base64url") };
  assert.equal((await eve.ask("POST", "/v1/login/passkey", moved)).body.rule, "passkey.failed");
  assert.equal((await eve.ask("GET", "/v1/me")).status, 401);
  done("a passkey opens nothing in another tenant");
  // The twin: the same answer, as it was, opens.
  await eve.is(200, "POST", "/v1/login/passkey", right);
  await eve.is(204, "POST", "/v1/logout");

  // A page of another origin that the browser lets use the same name.
  const site = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<p>other</p>"));
  await new Promise((listening) => { site.listen(0, "localhost", listening); });
  const challenge = await ada.is(200, "POST", "/v1/login/passkey/begin");
  await ada.page.goto(`http://localhost:${site.address().port}/`);
  const phished = await shownBy(ada, challenge);
  site.close();
  await ada.page.goto(`${origin}/passkeys`);
  assert.equal((await eve.ask("POST", "/v1/login/passkey", phished)).body.rule, "passkey.failed");
  assert.ok((await rules(ada)).includes("passkey.origin"));
  done("what was shown to another origin is refused");

  // A copy of the key that signed less often.
  const [now] = await ada.credentials();
  await eve.cdp.send("WebAuthn.addCredential", {
    authenticatorId: eve.authenticatorId, credential: { ...now, signCount: 0 },
  });
  await keptOut(eve);
  assert.ok((await rules(ada)).includes("passkey.cloned"));
  assert.equal((await ada.is(200, "GET", "/v1/me/passkeys"))[0].cloned, true);
  const signals = await ada.is(200, "GET", "/v1/audit?kind=signal&limit=50");
  assert.ok(signals.items.some((entry) => entry.fields.reasons === "cloned-passkey"));
  await ada.is(204, "POST", "/v1/logout");
  await keptOut(ada);
  done("a key that counts back is flagged, and opens nothing for anybody");

  // Bob's passkey opens; taken from him, it does not, and his sessions are over.
  await letIn(bob);
  const { pending } = await ada.is(200, "POST", "/v1/login", { tenant: "acme", user: "ada", password });
  await ada.is(200, "POST", "/v1/login/code", { pending, code: codes[0] });
  const up = await ada.ask("POST", "/v1/login/step-up", { code: codes[1] });
  assert.equal(up.status, 200, JSON.stringify(up));
  await ada.is(200, "POST", "/v1/users/bob/reset-second-factor");
  assert.equal((await bob.ask("GET", "/v1/me")).status, 401);
  await keptOut(bob);
  done("a reset ends passkeys and sessions");

  const faults = [ada, bob, eve].flatMap((someone) => someone.faults);
  assert.deepEqual(faults, [], "the pages keep to their own policy");
  done("the pages keep to their policy");
} finally {
  await browser.close();
}
