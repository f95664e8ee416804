use std::collections::BTreeSet;

use opsiq_contract::TenantId;
use opsiq_vault::{Place, RootKey, Secret, Vault, WrappedKey};

use super::*;
use crate::fixture::{id, installation, plugin, schema, shop, store};
use crate::{AuditRow, InstallationRow, KeyState, KeyVersionRow, KvEntryRow, TenantRow};

/// Columns that the migration says hold ciphertext, and the tables whose ciphertext is the host's own and not a tenant's.
const NAMES: [&str; 7] = ["doc", "secret", "answer", "key", "value", "sealed", "wrapped"];
const HOSTS_OWN: &[&str] = &["row_head", "root_check", "tenant_key"];

/// Whoever adds a sealed column to the schema must add it to the list, or rotation and verifying would pass it over.
async fn every_sealed_column_of_the_schema_is_listed() {
    let (_dir, store) = store().await;
    let mut found = BTreeSet::new();
    for pool in [store.reader(), store.key_db()] {
        for (table, columns) in schema(pool, true).await {
            if !HOSTS_OWN.contains(&table.as_str()) {
                found.extend(columns.into_iter().filter(|c| NAMES.contains(&c.as_str())).map(|c| (table.clone(), c)));
            }
        }
    }
    let listed = SEALED_COLUMNS.iter().map(|column| (column.table.to_owned(), column.column.to_owned())).collect();
    assert_eq!(found, listed);
}

fn two_keys(vault: &Vault, tenant: &TenantId) -> (TenantVault, WrappedKey, WrappedKey) {
    let first = vault.new_tenant_key(tenant);
    let second = vault.successor(tenant, &first).unwrap();
    (vault.tenant(tenant, std::slice::from_ref(&first)).unwrap(), first, second)
}

/// Walks a whole column; how many steps, how many moved, how many stuck.
async fn walk(store: &Store, column: &SealedColumn, tenant: &str, vault: &TenantVault) -> (u32, u64, usize) {
    let (mut after, mut all) = (None, (0, 0, 0));
    loop {
        let mut tx = store.begin().await.unwrap();
        let step = tx.rewrap_step(column, tenant, after.as_ref(), vault).await.unwrap();
        tx.commit().await.unwrap();
        all = (all.0 + 1, all.1 + step.moved, all.2 + step.stuck.len());
        match step.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn entry(vault: &TenantVault, seq: u64) -> AuditRow<String> {
    let name = seq.to_string();
    let place = Place { table: "audit_entry", row: &[&name], column: "content", version: 1 };
    AuditRow {
        log: "acme".to_owned(),
        seq,
        time_ms: 1,
        kind: 1,
        invocation: None,
        leaf: [0; 32],
        nodes: Vec::new(),
        header: vec![1, 2, 3],
        sealed: vault.seal(&place, &format!("entry {seq}")).unwrap(),
    }
}

async fn a_walk_moves_every_value_once_and_none_of_another_tenant() {
    let (_dir, store, _) = shop().await;
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = id("acme");
    let (open, first, second) = two_keys(&vault, &acme);
    let (other, ..) = two_keys(&vault, &id("beta"));
    let column = SEALED_COLUMNS.iter().find(|column| column.table == "audit_entry").unwrap();
    let rows: Vec<_> = (0..300).map(|seq| entry(&open, seq)).collect();
    let theirs = AuditRow { log: "beta".to_owned(), ..entry(&other, 0) };
    store.begin().await.unwrap().commit_with(&mut rows.clone()).await.unwrap();
    store.begin().await.unwrap().commit_with(&mut [theirs.clone()]).await.unwrap();

    vault.renew(&acme, &open, &[first.clone(), second.clone()]).unwrap();
    let mut damaged = entry(&open, 300);
    let mut bytes = damaged.sealed.into_bytes();
    bytes[40] ^= 1;
    bytes[2..10].copy_from_slice(first.id().as_bytes());
    damaged.sealed = Sealed::from_stored(bytes);
    store.begin().await.unwrap().commit_with(&mut [damaged]).await.unwrap();

    assert_eq!(store.sealed_under_others("acme", second.id()).await.unwrap(), 301 + 2, "and two unreadable documents");
    assert_eq!(walk(&store, column, "acme", &open).await, (3, 300, 1));
    assert_eq!(walk(&store, column, "acme", &open).await, (3, 0, 1), "again changes nothing");
    let after = store.audit_page::<String>("acme", 0, 400).await.unwrap();
    let only_new = vault.tenant(&acme, std::slice::from_ref(&second)).unwrap();
    for (seq, row) in after.iter().enumerate().take(300) {
        let name = seq.to_string();
        let place = Place { table: "audit_entry", row: &[&name], column: "content", version: 1 };
        assert_eq!(only_new.open(&place, &row.sealed).unwrap(), format!("entry {seq}"));
    }
    assert_eq!(store.audit_page::<String>("beta", 0, 2).await.unwrap()[0].sealed, theirs.sealed);
}

/// The place the list gives for each column is the one that values are sealed for.
async fn the_places_of_the_list_are_those_of_the_rows() {
    let (_dir, store) = store().await;
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = id("acme");
    let (open, ..) = two_keys(&vault, &acme);
    let mut tx = store.begin().await.unwrap();
    let place = Place { table: "tenant", row: &[], column: "doc", version: 7 };
    let doc = open.seal(&place, &1u8).unwrap();
    tx.tenant_insert(&TenantRow { id: acme.clone(), created_ms: 1, version: 7, doc }).await.unwrap();
    tx.plugin_insert(&plugin()).await.unwrap();
    let plain = installation("acme", 1);
    let shop = plain.id.to_string();
    let place = Place { table: "installation", row: &[&shop], column: "doc", version: plain.revision };
    let doc = open.seal(&place, &1u8).unwrap();
    let InstallationRow { tenant, id, name_index, digest, state, revision, created_ms, .. } = plain;
    let row = InstallationRow { tenant, id: id.clone(), name_index, digest, state, revision, created_ms, doc };
    tx.installation_insert(&row).await.unwrap();
    let named = [shop.as_str(), "k"];
    let of_key = |column| Place { table: "installation_key", row: &named, column, version: 3 };
    let key = KeyVersionRow {
        tenant: acme.clone(),
        installation: id.clone(),
        name: "k".to_owned(),
        version: 3,
        state: KeyState::Live,
        created_ms: 1,
        secret: Some(open.seal_secret(&of_key("secret"), &Secret::from(b"secret".to_vec()))),
        doc: open.seal(&of_key("doc"), &1u8).unwrap(),
    };
    tx.key_version_insert(&key).await.unwrap();
    let hex = "09".repeat(32);
    let kv = KvEntryRow {
        key_index: [9; 32],
        version: 5,
        bytes: 2,
        key: open.seal(&Place { table: "kv", row: &[&shop], column: "key", version: 0 }, &1u8).unwrap(),
        value: open.seal(&Place { table: "kv", row: &[&shop, &hex], column: "value", version: 5 }, &1u8).unwrap(),
    };
    tx.kv_set(&acme, &id, &kv, 0).await.unwrap();
    tx.commit().await.unwrap();

    let mut seen = BTreeSet::new();
    for column in SEALED_COLUMNS {
        let (values, next) = store.sealed_values(column, "acme", None).await.unwrap();
        assert!(next.is_none());
        for value in values {
            let SealedPlace::Row(row, version) = &value.place else { panic!("{}", column.table) };
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            let place = Place { table: column.table, row: &row, column: column.column, version: *version };
            assert_eq!(open.prove(&place, column.form, &value.stored), Ok(open.key_id()), "{}", value.row);
            seen.insert((column.table, column.column));
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

crate::fixture::on_both_engines! {
    every_sealed_column_of_the_schema_is_listed,
    a_walk_moves_every_value_once_and_none_of_another_tenant,
    the_places_of_the_list_are_those_of_the_rows,
}
