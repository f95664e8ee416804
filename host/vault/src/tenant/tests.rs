use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{RootKey, Vault, WrappedKey};

const PLACE: Place<'static> = Place { table: "app_user", row: &["u1", "x"], column: "doc", version: 3 };
const CANARY: &str = "CANARY-8d2b77";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Doc {
    name: String,
    fields: BTreeMap<String, u64>,
}

fn doc() -> Doc {
    Doc { name: CANARY.to_owned(), fields: BTreeMap::from([("a".to_owned(), 1)]) }
}

fn vaults() -> (TenantVault, TenantVault, TenantVault) {
    let (vault, _) = Vault::create(&RootKey::generate());
    let of = |name: &str| {
        let id = name.parse().unwrap();
        vault.tenant(&id, &[vault.new_tenant_key(&id)]).unwrap()
    };
    (of("acme"), of("beta"), vault.host())
}

#[test]
fn every_part_of_a_place_counts() {
    let (vault, ..) = vaults();
    let sealed = vault.seal(&PLACE, &doc()).unwrap();
    assert_eq!(vault.open(&PLACE, &sealed), Ok(doc()));
    let others = [
        Place { table: "app_use", ..PLACE },
        Place { table: "app_useru1", ..PLACE },
        Place { row: &["u2", "x"], ..PLACE },
        Place { row: &["u1x"], ..PLACE },
        Place { row: &["u1", "x", ""], ..PLACE },
        Place { row: &["u", "1x"], ..PLACE },
        Place { row: &["x", "u1"], ..PLACE },
        Place { row: &[], ..PLACE },
        Place { column: "doc2", ..PLACE },
        Place { column: "name", ..PLACE },
        Place { version: 2, ..PLACE },
        Place { version: 4, ..PLACE },
        Place { version: 3 << 8, ..PLACE },
    ];
    for place in others {
        let expected = VaultError::Tampered { table: place.table, column: place.column, why: Tampering::Changed };
        assert_eq!(vault.open(&place, &sealed), Err(expected), "{place:?}");
    }
}

#[test]
fn another_tenant_and_the_host_open_nothing() {
    let (acme, beta, host) = vaults();
    let sealed = acme.seal(&PLACE, &doc()).unwrap();
    for other in [&beta, &host] {
        let why = Tampering::ForeignKey(acme.key_id());
        let expected = VaultError::Tampered { table: PLACE.table, column: PLACE.column, why };
        assert!(expected.is_tampering());
        assert_eq!(other.open(&PLACE, &sealed), Err(expected));
    }
}

/// Even when an attacker could give both tenants the same key, the tenant's name in the additional data holds.
#[test]
fn the_tenants_name_is_authenticated_too() {
    let same_key = |name| TenantVault::new(name, vec![LiveKey::new("tenant", &[5; 32])], &[6; 32]);
    let (acme, beta) = (same_key("acme"), same_key("beta"));
    let sealed = acme.seal(&PLACE, &doc()).unwrap();
    assert_eq!(same_key("acme").open(&PLACE, &sealed), Ok(doc()));
    assert!(matches!(beta.open(&PLACE, &sealed), Err(VaultError::Tampered { why: Tampering::Changed, .. })));
}

#[test]
fn every_changed_or_missing_byte_is_caught() {
    let (vault, ..) = vaults();
    let sealed = vault.seal(&PLACE, &doc()).unwrap();
    for at in 0..sealed.as_bytes().len() {
        for bit in [0x01, 0x80] {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= bit;
            assert!(vault.open(&PLACE, &Sealed::<Doc>::from_stored(bytes)).unwrap_err().is_tampering(), "byte {at}");
        }
    }
    for len in 0..sealed.as_bytes().len() {
        let cut = Sealed::<Doc>::from_stored(sealed.as_bytes()[..len].to_vec());
        assert!(vault.open(&PLACE, &cut).unwrap_err().is_tampering(), "{len} bytes");
    }
}

#[test]
fn a_document_does_not_open_as_a_secret_nor_as_another_type() {
    let (vault, ..) = vaults();
    let document = vault.seal(&PLACE, &"text".to_owned()).unwrap();
    let secret = vault.seal_secret(&PLACE, &Secret::from(b"\"text\"".to_vec()));
    assert!(vault.open_secret(&PLACE, &Sealed::from_stored(document.clone().into_bytes())).is_err());
    assert!(vault.open(&PLACE, &Sealed::<String>::from_stored(secret.clone().into_bytes())).is_err());
    assert_eq!(vault.open_secret(&PLACE, &secret).unwrap().expose(), b"\"text\"");
    let other_type = Sealed::<Doc>::from_stored(document.into_bytes());
    let expected = VaultError::Form { table: PLACE.table, column: PLACE.column };
    assert_eq!(vault.open(&PLACE, &other_type), Err(expected));
}

#[test]
fn nothing_shown_holds_the_content() {
    let (vault, beta, _) = vaults();
    let sealed = vault.seal(&PLACE, &CANARY.to_owned()).unwrap();
    let secret = vault.seal_secret(&PLACE, &Secret::from(CANARY.as_bytes().to_vec()));
    let wrong_type = vault.open(&PLACE, &Sealed::<u32>::from_stored(sealed.clone().into_bytes())).unwrap_err();
    let foreign = beta.open(&PLACE, &sealed).unwrap_err();
    let shown = [
        format!("{sealed:?} {secret:?} {vault:?}"),
        format!("{wrong_type} {wrong_type:?} {foreign} {foreign:?}"),
        String::from_utf8_lossy(sealed.as_bytes()).into_owned(),
        String::from_utf8_lossy(secret.as_bytes()).into_owned(),
        hex::encode(vault.blind_index("d", CANARY.as_bytes())),
    ];
    for shown in shown {
        assert!(!shown.contains("CANARY") && !shown.contains(&hex::encode(CANARY)), "{shown}");
    }
}

#[test]
fn the_same_value_never_seals_the_same() {
    let (vault, ..) = vaults();
    let seal = || vault.seal(&PLACE, &doc()).unwrap().into_bytes();
    let all: Vec<Vec<u8>> = (0..100).map(|_| seal()).collect();
    assert_eq!(all.iter().map(|bytes| &bytes[10..34]).collect::<HashSet<_>>().len(), 100, "nonces");
    assert_eq!(all.iter().map(|bytes| &bytes[PREFIX..]).collect::<HashSet<_>>().len(), 100, "ciphertexts");
}

#[test]
fn blind_indexes_depend_on_tenant_domain_and_value() {
    let (acme, beta, host) = vaults();
    let base = acme.blind_index("name", b"shop");
    assert_eq!(base, acme.clone().blind_index("name", b"shop"));
    let others = [
        beta.blind_index("name", b"shop"),
        host.blind_index("name", b"shop"),
        acme.blind_index("kv", b"shop"),
        acme.blind_index("names", b"hop"),
        acme.blind_index("name", b"shop2"),
    ];
    for other in others {
        assert_ne!(base, other);
    }
    let secret = Secret::from(b"shop".to_vec());
    assert_eq!(acme.fingerprint(&secret).len(), 8);
    assert_ne!(acme.fingerprint(&secret), beta.fingerprint(&secret));
}

proptest! {
    #[test]
    fn what_is_sealed_opens(text: String, bytes: Vec<u8>, row: Vec<String>, version: u64) {
        let (vault, ..) = vaults();
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        let place = Place { table: "t", row: &row, column: "c", version };
        let sealed = Sealed::from_stored(vault.seal(&place, &text)?.into_bytes());
        prop_assert_eq!(vault.open::<String>(&place, &sealed)?, text);
        let sealed = vault.seal_secret(&place, &Secret::from(bytes.clone()));
        let opened = vault.open_secret(&place, &sealed)?;
        prop_assert_eq!(opened.expose(), &bytes[..]);
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes: Vec<u8>) {
        let (vault, ..) = vaults();
        prop_assert!(vault.open::<String>(&PLACE, &Sealed::from_stored(bytes.clone())).is_err());
        let mut almost = header(vault.key_id()).to_vec();
        almost.extend_from_slice(&bytes);
        prop_assert!(vault.open::<String>(&PLACE, &Sealed::from_stored(almost)).is_err());
        prop_assert!(WrappedKey::from_stored(&bytes).is_err());
    }
}
