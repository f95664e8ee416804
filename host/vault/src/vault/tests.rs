use super::*;
use crate::Place;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

const PLACE: Place<'static> = Place { table: "t", row: &["r"], column: "c", version: 1 };

#[test]
fn the_right_root_opens_and_a_wrong_one_is_named() {
    let root = RootKey::generate();
    let (vault, check) = Vault::create(&root);
    let check = KeyCheck::from_stored(check.as_bytes()).unwrap();
    let sealed = vault.host().seal(&PLACE, &"content".to_owned()).unwrap();
    let derived = vault.derive("purpose");

    let again = Vault::open(&RootKey::parse(&root.to_text()).unwrap(), &check).unwrap();
    assert_eq!(again.host().open(&PLACE, &sealed).unwrap(), "content");
    assert!(again.derive("purpose").ct_eq(&derived));
    assert!(!again.derive("other").ct_eq(&derived));

    let wrong = RootKey::generate();
    let error = Vault::open(&wrong, &check).unwrap_err();
    assert_eq!(error, VaultError::WrongRoot { expected: root.id(), found: wrong.id() });
    let text = error.to_string();
    assert!(text.contains(&root.id().to_string()) && text.contains(&wrong.id().to_string()), "{text}");
}

#[test]
fn every_changed_byte_of_a_stored_key_is_refused() {
    let root = RootKey::generate();
    let (vault, check) = Vault::create(&root);
    for at in 0..check.as_bytes().len() {
        let mut bytes = check.as_bytes().to_vec();
        bytes[at] ^= 1;
        let refused = KeyCheck::from_stored(&bytes).and_then(|check| Vault::open(&root, &check).map(drop));
        assert!(refused.is_err(), "byte {at}");
    }
    let acme = tenant("acme");
    let key = vault.new_tenant_key(&acme);
    for at in 0..key.as_bytes().len() {
        let mut bytes = key.as_bytes().to_vec();
        bytes[at] ^= 1;
        let refused = WrappedKey::from_stored(&bytes).and_then(|key| vault.tenant(&acme, &[key]).map(drop));
        assert!(refused.is_err(), "byte {at}");
    }
    assert!(vault.tenant(&acme, &[WrappedKey::from_stored(key.as_bytes()).unwrap()]).is_ok());
    for len in 0..key.as_bytes().len() {
        assert!(WrappedKey::from_stored(&key.as_bytes()[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_tenants_key_serves_no_other_tenant_and_no_other_vault() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let key = vault.new_tenant_key(&acme);
    assert_eq!(vault.tenant(&beta, std::slice::from_ref(&key)).unwrap_err(), VaultError::Key(Tampering::Changed));
    assert_eq!(vault.tenant(&acme, &[]).unwrap_err(), VaultError::NoKey("acme".to_owned()));
    let (other, _) = Vault::create(&RootKey::generate());
    assert!(matches!(other.tenant(&acme, &[key]), Err(VaultError::WrongRoot { .. })));
}

#[test]
fn the_newest_key_seals_and_every_live_key_opens() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = tenant("acme");
    let first = vault.new_tenant_key(&acme);
    let second = vault.successor(&acme, &first).unwrap();
    assert_eq!((first.generation(), second.generation()), (1, 2));
    let before = vault.tenant(&acme, std::slice::from_ref(&first)).unwrap();
    let both = vault.tenant(&acme, &[second.clone(), first.clone()]).unwrap();
    let after = vault.tenant(&acme, std::slice::from_ref(&second)).unwrap();
    assert_eq!(both.key_id(), second.id());

    let old = before.seal(&PLACE, &1u32).unwrap();
    let new = both.seal(&PLACE, &2u32).unwrap();
    assert_eq!((both.open(&PLACE, &old), both.open(&PLACE, &new)), (Ok(1), Ok(2)));
    assert_eq!(before.blind_index("d", b"x"), after.blind_index("d", b"x"));

    // re-wrapped, the old value opens without the old key, and its ciphertext is the same
    let moved = both.rewrap(&old).unwrap().unwrap();
    assert_eq!(both.rewrap(&moved).unwrap(), None);
    assert_eq!(after.open(&PLACE, &moved), Ok(1));
    let prefix = crate::sealed::PREFIX;
    assert_eq!(moved.as_bytes()[prefix..], old.as_bytes()[prefix..]);
    assert!(matches!(after.open(&PLACE, &old), Err(VaultError::Tampered { why: Tampering::ForeignKey(_), .. })));
    assert_eq!(after.rewrap(&old).unwrap_err(), Tampering::ForeignKey(first.id()));
    assert!(matches!(before.open(&PLACE, &moved), Err(VaultError::Tampered { .. })));
}

#[test]
fn keys_of_two_beginnings_are_refused_together() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = tenant("acme");
    let keys = [vault.new_tenant_key(&acme), vault.new_tenant_key(&acme)];
    assert!(vault.tenant(&acme, &keys).is_err());
}
