// What /sign-in and /passkeys do: they ask the API of this host, and hand on what browser and authenticator say. Text comes into the
// page as text alone.
"use strict";

const find = (id) => document.getElementById(id);
const tell = (text) => { find("told").textContent = text; };

const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const toText = (buffer) => btoa(Array.from(new Uint8Array(buffer ?? []), (byte) => String.fromCharCode(byte)).join(""))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

class Refused extends Error {
  constructor(problem) {
    super([problem.detail, problem.fix].filter(Boolean).join(" – "));
    this.rule = problem.rule;
    this.status = problem.status;
  }
}

async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Refused(said);
  return said;
}

const ids = (list) => (list ?? []).map((one) => ({ ...one, id: toBytes(one.id) }));

// Has an authenticator make a key, and enrols it under that name.
async function enrol(name) {
  const { pending, options } = await ask("POST", "/v1/me/passkeys/begin");
  const publicKey = {
    ...options,
    challenge: toBytes(options.challenge),
    user: { ...options.user, id: toBytes(options.user.id) },
    excludeCredentials: ids(options.excludeCredentials),
  };
  const { response } = await navigator.credentials.create({ publicKey });
  return ask("POST", "/v1/me/passkeys", {
    pending, name, client_data: toText(response.clientDataJSON), attestation: toText(response.attestationObject),
  });
}

// Has an authenticator show a key, and hands it to that path.
async function show(path) {
  const { pending, options } = await ask("POST", `${path}/begin`);
  const publicKey = {
    ...options, challenge: toBytes(options.challenge), allowCredentials: ids(options.allowCredentials),
  };
  const { rawId, response } = await navigator.credentials.get({ publicKey });
  return ask("POST", path, {
    pending,
    credential: toText(rawId),
    user_handle: toText(response.userHandle),
    client_data: toText(response.clientDataJSON),
    authenticator_data: toText(response.authenticatorData),
    signature: toText(response.signature),
  });
}

// Does it, and says what went wrong; buttons wait meanwhile.
async function doing(work) {
  const buttons = [...document.querySelectorAll("button")];
  buttons.forEach((button) => { button.disabled = true; });
  tell("");
  try {
    await work();
  } catch (error) {
    if (error.name === "NotAllowedError") tell("Nothing was shown: it was declined, or took too long.");
    else if (error.name === "InvalidStateError") tell("This authenticator has a passkey of this account already.");
    else tell(error.message);
    if (error.rule === "session.step-up-needed") find("step-up").hidden = false;
    if (error.status === 401 && find("stranger") && error.rule !== "code.wrong" && !error.rule.startsWith("passkey.")) {
      find("stranger").hidden = false;
    }
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

const submitted = (id, work) => find(id).addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  doing(() => work(Object.fromEntries(new FormData(form)), form));
});

function signIn() {
  let pending;
  const away = () => { location.assign("/passkeys"); };
  find("passkey").addEventListener("click", () => doing(async () => {
    await show("/v1/login/passkey");
    away();
  }));
  submitted("password", async (typed, form) => {
    ({ pending } = await ask("POST", "/v1/login", typed));
    form.reset();
    form.hidden = true;
    find("code").hidden = false;
    find("code").elements.code.focus();
  });
  submitted("code", async ({ code }) => {
    await ask("POST", "/v1/login/code", { pending, code });
    away();
  });
}

const when = (ms) => (ms === null ? "never" : new Date(ms).toLocaleString());

function shown(passkey) {
  const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const item = document.createElement("li");
  const used = make("small", `Added ${when(passkey.created_ms)}; last shown ${when(passkey.used_ms)}.`);
  const rename = Object.assign(make("button", "Rename"), { className: "quiet" });
  const remove = Object.assign(make("button", "Remove"), { className: "quiet" });
  rename.setAttribute("aria-label", `Rename ${passkey.name}`);
  remove.setAttribute("aria-label", `Remove ${passkey.name}`);
  rename.addEventListener("click", () => {
    const name = prompt("Its name", passkey.name);
    if (name) doing(async () => { await ask("PUT", `/v1/me/passkeys/${passkey.id}`, { name }); await list(); });
  });
  remove.addEventListener("click", () => {
    if (confirm(`Remove ${passkey.name}?`)) {
      doing(async () => { await ask("DELETE", `/v1/me/passkeys/${passkey.id}`); await list(); });
    }
  });
  item.append(make("strong", passkey.name), used);
  if (passkey.cloned) item.append(make("small", "There are two of it: it opens nothing any more. Remove it."));
  item.append(rename, remove);
  return item;
}

async function list() {
  const passkeys = await ask("GET", "/v1/me/passkeys");
  find("passkeys").replaceChildren(...passkeys.map(shown));
  find("enrol").hidden = false;
  find("out").hidden = false;
  if (!passkeys.length) tell("No passkeys yet.");
}

function passkeys() {
  const steppedUp = () => { find("step-up").hidden = true; tell("Thank you. Now do it again."); };
  submitted("enrol", async ({ name }, form) => {
    await enrol(name);
    form.reset();
    await list();
  });
  submitted("step-up-code", async ({ code }, form) => {
    await ask("POST", "/v1/login/step-up", { code });
    form.reset();
    steppedUp();
  });
  find("step-up-passkey").addEventListener("click", () => doing(async () => {
    await show("/v1/login/step-up/passkey");
    steppedUp();
  }));
  find("logout").addEventListener("click", () => doing(async () => {
    await ask("POST", "/v1/logout");
    location.assign("/sign-in");
  }));
  doing(list);
}

if (find("password")) signIn(); else passkeys();
