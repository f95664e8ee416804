//! What is remembered of a tenant's clients between requests.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use opsiq_contract::Role;
use opsiq_store::{ApiClientKeyRow, ApiClientRow};
use opsiq_vault::Secret;

use super::{ClientKeyState, ClientKeyView, ClientView, key_id};
use crate::core::{Core, now_ms};
use crate::docs::{ClientDoc, client_key_place};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::{TenantState, User};

/// A client as last read.
#[derive(Debug)]
pub(crate) struct Client {
    /// What it has in common with a user.
    pub(crate) user: Arc<User>,
    pub(crate) scopes: BTreeSet<String>,
    /// The accepted secrets.
    keys: Vec<ClientKey>,
    pub(super) doc: ClientDoc,
}

/// A secret that a client may sign with.
#[derive(Debug)]
struct ClientKey {
    version: u64,
    until_ms: Option<i64>,
    secret: Arc<Secret>,
}

/// All clients of a tenant, by name.
pub(crate) type Clients = HashMap<String, Arc<Client>>;

impl Client {
    /// The secret of a version that is accepted at `now_ms`.
    pub(crate) fn secret(&self, version: u64, now_ms: i64) -> Option<Arc<Secret>> {
        let key = self.keys.iter().find(|key| key.version == version)?;
        let accepted = self.user.enabled && key.until_ms.is_none_or(|until| now_ms < until);
        accepted.then(|| key.secret.clone())
    }

    /// Whether this user may have a secret of it, and ask for something in its name: they were told one, or it was not kept who was.
    pub(crate) fn may_be_in_the_hands_of(&self, user: &User) -> bool {
        match &self.doc.told {
            Some(told) => told.contains(&user.id),
            // Owners alone make clients.
            None => user.role == Role::Owner,
        }
    }

    pub(super) fn view(&self, tenant: &TenantState) -> ClientView {
        let now = now_ms();
        let keys = self.doc.keys.iter().rev().filter(|key| key.until_ms.is_none_or(|until| now < until));
        let keys = keys.map(|key| ClientKeyView {
            key_id: key_id(tenant, &self.doc.name, key.version),
            state: if key.until_ms.is_none() { ClientKeyState::Current } else { ClientKeyState::Ending },
            fingerprint: key.fingerprint.clone(),
            created_ms: key.created_ms,
            until_ms: key.until_ms,
        });
        ClientView {
            name: self.doc.name.clone(),
            role: self.doc.role,
            scopes: self.doc.scopes.clone(),
            revoked: !self.doc.enabled,
            keys: keys.collect(),
            created_ms: self.user.created_ms,
        }
    }
}

impl Core {
    /// The client called `name`, as it stands now.
    pub(crate) async fn client(&self, tenant: &TenantState, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        Ok(self.clients_of(tenant).await?.get(name).cloned())
    }

    /// All clients of a tenant.
    pub(crate) async fn clients_of(&self, tenant: &TenantState) -> Result<Arc<Clients>, Refusal> {
        if let Some(clients) = tenant.clients() {
            return Ok(clients);
        }
        let mark = tenant.mark();
        let failed = |error| errors::store(Stage::Authenticate, &error);
        let rows = self.store.api_clients::<ClientDoc>(&tenant.id).await.map_err(failed)?;
        let mut secrets: HashMap<(String, u64), ApiClientKeyRow> = HashMap::new();
        if !rows.is_empty() {
            let keys = self.store.api_client_keys(&tenant.id).await.map_err(failed)?;
            secrets.extend(keys.into_iter().map(|key| ((key.client.clone(), key.version), key)));
        }
        let mut clients = Clients::new();
        for row in rows {
            let client = opened(tenant, &row, &mut secrets)?;
            clients.insert(client.doc.name.clone(), Arc::new(client));
        }
        let clients = Arc::new(clients);
        tenant.keep_clients(mark, &clients);
        Ok(clients)
    }
}

fn opened(
    tenant: &TenantState,
    row: &ApiClientRow<ClientDoc>,
    secrets: &mut HashMap<(String, u64), ApiClientKeyRow>,
) -> Result<Client, Refusal> {
    let failed = |error| errors::vault(Stage::Authenticate, &error);
    let doc = tenant.vault.open(&ClientDoc::place(&[&row.id], row.version), &row.doc).map_err(failed)?;
    let mut keys = Vec::new();
    for key in &doc.keys {
        // One that is missing is not accepted; rows that are missing are told at start.
        if let Some(found) = secrets.remove(&(row.id.clone(), key.version)) {
            let place = [row.id.as_str()];
            let secret = tenant.vault.open_secret(&client_key_place(&place, key.version), &found.secret);
            let secret = Arc::new(secret.map_err(failed)?);
            keys.push(ClientKey { version: key.version, until_ms: key.until_ms, secret });
        }
    }
    let user = User {
        id: row.id.clone(),
        name: doc.name.clone(),
        role: doc.role,
        custom: None,
        enabled: doc.enabled,
        by_provider: false,
        created_ms: row.created_ms,
        version: row.version,
    };
    Ok(Client { user: Arc::new(user), scopes: doc.scopes.clone(), keys, doc })
}
