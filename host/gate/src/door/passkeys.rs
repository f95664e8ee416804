//! A person's own passkeys: to enrol, see, name and remove. Between the two steps of enrolling nothing is stored: the challenge is
//! sealed and comes back with its answer, to any node; that it was answered is marked in the store that all nodes share.

use opsiq_audit::{Kind, Op, field};
use opsiq_contract::visible;
use opsiq_identity::passkey::{ALGORITHMS, Challenge, Party, PasskeyFault, Registration, register, user_handle};
use opsiq_store::PasskeyRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Door;
use super::enrol::ISSUER;
use super::pending::{self, ShownOnce, Step, over};
use super::renew::session_of;
use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::PasskeyDoc;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// How long an answer is awaited, in milliseconds.
pub(super) const WITHIN_MS: i64 = 5 * 60_000;
/// Passkeys of one person, at most.
const MOST: usize = 20;
/// Characters of a name, at most.
const NAME: usize = 60;

const ENROL: &str = "account passkey enrol";
const RENAME: &str = "account passkey rename";
const REMOVE: &str = "account passkey remove";

/// A passkey, as its person sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PasskeyView {
    /// Its id.
    pub id: String,
    /// What its person calls it.
    pub name: String,
    /// The name of this host that it is bound to.
    pub site: String,
    /// When it was enrolled, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last shown, in milliseconds since 1970.
    pub used_ms: Option<i64>,
    /// Whether it is copied to other devices of its person.
    pub backed_up: bool,
    /// Whether there turned out to be two of it; then it opens nothing.
    pub cloned: bool,
}

/// What a browser gives to `navigator.credentials`.
#[derive(Debug, Serialize)]
pub struct PasskeyBegun {
    /// To be given back with the answer.
    pub pending: ShownOnce,
    /// Until when that is awaited, in milliseconds since 1970.
    pub expires_ms: i64,
    /// In the form of `parseCreationOptionsFromJSON`, or `parseRequestOptionsFromJSON`.
    pub options: Value,
}

/// A passkey that was made. Nothing of it is trusted.
#[derive(Debug)]
pub struct NewPasskey<'a> {
    /// As [`PasskeyBegun::pending`].
    pub pending: &'a str,
    /// What its person calls it.
    pub name: &'a str,
    /// `response.clientDataJSON`.
    pub client_data: &'a [u8],
    /// `response.attestationObject`.
    pub attestation: &'a [u8],
}

/// What is known of a passkey that is made.
#[derive(Serialize, Deserialize)]
struct Enrolling {
    user: String,
    session: String,
    challenge: Challenge,
    until_ms: i64,
}

impl Door {
    /// The acting person's passkeys, oldest first.
    ///
    /// # Errors
    /// Not in a session; a row that does not open.
    pub async fn passkeys(&self, actor: &Actor) -> Result<Vec<PasskeyView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, "account passkeys", "", async {
                let found = self.core.passkeys_of(&person.tenant, &person.user.id).await?;
                Ok(found.iter().map(|(row, doc)| view(row, doc)).collect())
            })
            .await
    }

    /// Begins to make a passkey for `party`, in a session, after a factor shown lately.
    ///
    /// # Errors
    /// Not so; `passkey.many`.
    pub async fn passkey_begin(&self, actor: &Actor, party: &Party) -> Result<PasskeyBegun, Refusal> {
        let person = self.core.person(actor).await?;
        let (tenant, user) = (&person.tenant, &person.user);
        self.core
            .own_act(&person, ENROL, "begin", async {
                let known = self.room(&person).await?;
                let (challenge, until_ms) = (Challenge::generate(), now_ms() + WITHIN_MS);
                let handle = account(&user.id).and_then(|account| user_handle(&tenant.id, &account));
                let handle =
                    handle.ok_or_else(|| errors::internal(Stage::Authenticate, "an account's id is no UUID"))?;
                let algorithms = ALGORITHMS.map(|algorithm| json!({ "type": "public-key", "alg": algorithm }));
                let options = json!({
                    "rp": { "id": party.id, "name": ISSUER },
                    "user": {
                        "id": base64url::text(&handle), "name": format!("{}/{}", tenant.id, user.name),
                        "displayName": user.name,
                    },
                    "challenge": challenge.text(),
                    "pubKeyCredParams": algorithms,
                    "timeout": WITHIN_MS,
                    "excludeCredentials": allowed(known.iter().map(|(_, doc)| doc), party),
                    "authenticatorSelection": {
                        "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
                    },
                    "attestation": "none",
                });
                let state = Enrolling { user: user.id.clone(), session: session_of(&person), challenge, until_ms };
                let pending = pending::seal(tenant, Step::PasskeyEnrol, &state)?;
                Ok(PasskeyBegun { pending, expires_ms: until_ms, options })
            })
            .await
    }

    /// Keeps a passkey that was made.
    ///
    /// # Errors
    /// As [`Door::passkey_begin`]; `login.over`; whatever speaks against what was brought: `passkey.origin`,
    /// `passkey.challenge`, `passkey.verification`, `passkey.algorithm`, `passkey.replayed`, `passkey.known` and their like.
    pub async fn passkey_enrol(
        &self,
        actor: &Actor,
        party: &Party,
        new: &NewPasskey<'_>,
    ) -> Result<PasskeyView, Refusal> {
        let person = self.core.person(actor).await?;
        let tenant = &person.tenant;
        self.core
            .own_act(&person, ENROL, "enrol", async {
                let opened = pending::open::<Enrolling>(&self.core, Step::PasskeyEnrol, new.pending);
                let state = opened.filter(|(of, state)| {
                    of.id == tenant.id
                        && state.user == person.user.id
                        && state.session == session_of(&person)
                        && now_ms() < state.until_ms
                });
                let (_, state) = state.ok_or_else(over)?;
                let name = named(new.name)?;
                let registration = Registration { client_data: new.client_data, attestation: new.attestation };
                let kept = register(party, &state.challenge, &registration).map_err(|fault| refused(&fault))?;
                self.room(&person).await?;
                let doc = PasskeyDoc {
                    name,
                    owner: person.user.name.clone(),
                    site: party.id.clone(),
                    credential: kept.id,
                    key: kept.key,
                    count: kept.count,
                    may_be_backed_up: kept.may_be_backed_up,
                    backed_up: kept.backed_up,
                    used_ms: None,
                    cloned_ms: None,
                };
                let row = new_row(&person, &doc)?;
                let shown = view(&row, &doc);
                let known =
                    self.core.store.passkey_by_credential::<PasskeyDoc>(&tenant.id, &row.credential_index).await;
                if known.map_err(|error| errors::store(Stage::Authenticate, &error))?.is_some() {
                    return Err(refusal(
                        "passkey.known",
                        "this passkey is enrolled already",
                        "use another authenticator",
                    ));
                }
                let challenge = challenge_index(tenant, &state.challenge);
                let draft = person.draft(Kind::Admin, ENROL).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("passkey {} ({})", shown.id, shown.name));
                let (user, version) = (person.user.id.clone(), person.user.version);
                let op = Op::new(move |tx| {
                    Box::pin(async move {
                        tx.user_at(&row.tenant, &user, version).await?;
                        tx.sso_spend(&row.tenant, &challenge, now_ms(), state.until_ms).await?;
                        Ok(tx.passkey_insert(&row).await?)
                    })
                });
                match self.core.change_anyway(tenant, vec![draft], op).await {
                    Err(refusal) if refusal.class == Class::Conflict => Err(replayed()),
                    done => done.map(|()| shown),
                }
            })
            .await
    }

    /// Gives one of the acting person's passkeys another name.
    ///
    /// # Errors
    /// Not in a session; `passkey.unknown`; `passkey.name`.
    pub async fn passkey_rename(&self, actor: &Actor, id: &str, name: &str) -> Result<PasskeyView, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .own_act(&person, RENAME, &visible(id, 64).text, async {
                let (row, mut doc) = self.own_passkey(&person, id).await?;
                doc.name = named(name)?;
                let row = changed(&person.tenant, &row, &doc)?;
                let shown = view(&row, &doc);
                let draft = person.draft(Kind::Admin, RENAME).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("passkey {} ({})", shown.id, shown.name));
                let op =
                    Op::new(move |tx| Box::pin(async move { Ok(tx.passkey_update(&row, row.version - 1).await?) }));
                self.core.change_anyway(&person.tenant, vec![draft], op).await?;
                Ok(shown)
            })
            .await
    }

    /// Removes one of the acting person's passkeys, after a factor shown lately. The last thing that somebody signs in with stays.
    ///
    /// # Errors
    /// Not in a session; `passkey.unknown`; `passkey.last`.
    pub async fn passkey_remove(&self, actor: &Actor, id: &str) -> Result<(), Refusal> {
        let person = self.core.person(actor).await?;
        let (tenant, user) = (&person.tenant, &person.user);
        self.core
            .own_act(&person, REMOVE, &visible(id, 64).text, async {
                let (row, doc) = self.own_passkey(&person, id).await?;
                let failed = |error| errors::store(Stage::Authenticate, &error);
                let elsewhere = self.core.store.enrolled(&tenant.id).await.map_err(failed)?.contains(&user.id)
                    || self.core.store.sso_users(&tenant.id).await.map_err(failed)?.contains(&user.id);
                if !elsewhere && self.core.passkeys_of(tenant, &user.id).await?.len() == 1 {
                    return Err(refusal(
                        "passkey.last",
                        "this passkey is all that its person signs in with",
                        "enrol another one first",
                    ));
                }
                let draft = person.draft(Kind::Admin, REMOVE).field(field::OUTCOME, "ok");
                let draft = draft.field(field::DETAIL, format!("passkey {} ({})", row.id, doc.name));
                let op = Op::new(move |tx| {
                    Box::pin(async move { Ok(tx.passkey_remove(&row.tenant, &row.user, &row.id).await?) })
                });
                self.core.change_anyway(tenant, vec![draft], op).await
            })
            .await
    }

    /// The person's passkeys, if there is room for one more.
    async fn room(&self, person: &Person) -> Result<Vec<(PasskeyRow<PasskeyDoc>, PasskeyDoc)>, Refusal> {
        let known = self.core.passkeys_of(&person.tenant, &person.user.id).await?;
        if known.len() < MOST {
            return Ok(known);
        }
        Err(refusal("passkey.many", &format!("there are {MOST} passkeys of this account"), "remove one first"))
    }

    async fn own_passkey(&self, person: &Person, id: &str) -> Result<(PasskeyRow<PasskeyDoc>, PasskeyDoc), Refusal> {
        let found = self.core.passkeys_of(&person.tenant, &person.user.id).await?;
        found.into_iter().find(|(row, _)| row.id == id).ok_or_else(|| {
            let fix = "see the list: opsiq account passkeys";
            Refusal::new(Class::NotFound, Stage::Admin, "passkey.unknown", "there is no such passkey", fix)
        })
    }
}

impl Core {
    /// The passkeys of a user, oldest first.
    pub(super) async fn passkeys_of(
        &self,
        tenant: &TenantState,
        user: &str,
    ) -> Result<Vec<(PasskeyRow<PasskeyDoc>, PasskeyDoc)>, Refusal> {
        let rows = self.store.passkeys_of::<PasskeyDoc>(&tenant.id, user).await;
        let rows = rows.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        rows.into_iter().map(|row| opened(tenant, row)).collect()
    }
}

/// What is stored of a passkey.
pub(super) fn opened(
    tenant: &TenantState,
    row: PasskeyRow<PasskeyDoc>,
) -> Result<(PasskeyRow<PasskeyDoc>, PasskeyDoc), Refusal> {
    let doc = tenant.vault.open(&PasskeyDoc::place(&[&row.id], row.version), &row.doc);
    let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
    Ok((row, doc))
}

/// The row with another document.
pub(super) fn changed(
    tenant: &TenantState,
    row: &PasskeyRow<PasskeyDoc>,
    doc: &PasskeyDoc,
) -> Result<PasskeyRow<PasskeyDoc>, Refusal> {
    let version = row.version + 1;
    let doc = tenant.vault.seal(&PasskeyDoc::place(&[&row.id], version), doc);
    let doc = doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
    Ok(PasskeyRow { version, doc, ..row.clone() })
}

fn new_row(person: &Person, doc: &PasskeyDoc) -> Result<PasskeyRow<PasskeyDoc>, Refusal> {
    let (tenant, id) = (&person.tenant, uuid::Uuid::now_v7().to_string());
    let sealed = tenant.vault.seal(&PasskeyDoc::place(&[&id], 1), doc);
    Ok(PasskeyRow {
        tenant: tenant.id.clone(),
        credential_index: credential_index(tenant, &doc.credential),
        user: person.user.id.clone(),
        created_ms: now_ms(),
        version: 1,
        doc: sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?,
        id,
    })
}

fn view(row: &PasskeyRow<PasskeyDoc>, doc: &PasskeyDoc) -> PasskeyView {
    PasskeyView {
        id: row.id.clone(),
        name: doc.name.clone(),
        site: doc.site.clone(),
        created_ms: row.created_ms,
        used_ms: doc.used_ms,
        backed_up: doc.backed_up,
        cloned: doc.cloned_ms.is_some(),
    }
}

/// Passkeys for this name of the host, as a browser is told of them.
pub(super) fn allowed<'a>(docs: impl Iterator<Item = &'a PasskeyDoc>, party: &Party) -> Vec<Value> {
    docs.filter(|doc| doc.site == party.id)
        .map(|doc| json!({ "type": "public-key", "id": base64url::text(&doc.credential) }))
        .collect()
}

pub(super) fn credential_index(tenant: &TenantState, credential: &[u8]) -> [u8; 32] {
    tenant.vault.blind_index("passkey credential", credential)
}

/// What marks a challenge as answered.
pub(super) fn challenge_index(tenant: &TenantState, challenge: &Challenge) -> [u8; 32] {
    tenant.vault.blind_index("passkey challenge", challenge.bytes())
}

/// The bytes of an account's id.
pub(super) fn account(id: &str) -> Option<[u8; 16]> {
    uuid::Uuid::parse_str(id).ok().map(uuid::Uuid::into_bytes)
}

fn named(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if (1..=NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    let message = format!("a passkey's name has 1 to {NAME} characters, none of which controls anything");
    Err(Refusal::new(Class::Invalid, Stage::Admin, "passkey.name", message, "choose another"))
}

pub(super) fn refusal(rule: &'static str, message: &str, fix: &str) -> Refusal {
    Refusal::new(Class::Denied, Stage::Authenticate, rule, message, fix)
}

/// What speaks against what a browser brought.
pub(super) fn refused(fault: &PasskeyFault) -> Refusal {
    let message = format!("the passkey is not believed: {fault}");
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        fault.rule,
        message,
        "begin again, on a page of this host",
    )
}

/// The challenge was answered already, or the passkey was shown elsewhere at the same moment.
pub(super) fn replayed() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "passkey.replayed",
        "this answer of a passkey was shown before",
        "begin again",
    )
}

/// Bytes within a document, as base64url.
pub(crate) mod base64url {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        URL_SAFE_NO_PAD.decode(String::deserialize(from)?).map_err(|_| D::Error::custom("no base64url"))
    }
}
