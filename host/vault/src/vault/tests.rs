use super::*;
use crate::{Form, Place, Sealed};

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

#[test]
fn a_swap_reaches_every_clone_and_what_the_old_key_sealed_is_counted() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = tenant("acme");
    let first = vault.new_tenant_key(&acme);
    let open = vault.tenant(&acme, std::slice::from_ref(&first)).unwrap();
    let clone = open.clone();
    let before = open.seal(&PLACE, &1u32).unwrap();
    let second = vault.successor(&acme, &first).unwrap();
    vault.renew(&acme, &open, &[first.clone(), second.clone()]).unwrap();
    assert_eq!(clone.key_ids(), [first.id(), second.id()]);
    assert_eq!(clone.seal(&PLACE, &2u32).unwrap().key_id(), Some(second.id()));
    assert_eq!(clone.open(&PLACE, &before), Ok(1));

    // every clone of a value counts; what was read back from storage does not
    let copy = before.clone();
    assert!(open.in_use(first.id()));
    drop(before);
    assert!(open.in_use(first.id()));
    let stored = Sealed::<u32>::from_stored(copy.as_bytes().to_vec());
    drop(copy);
    assert!(!open.in_use(first.id()));

    assert!(!open.retire(second.id()), "the key that seals stays");
    assert!(open.retire(first.id()) && !open.retire(first.id()));
    assert!(matches!(clone.open(&PLACE, &stored), Err(VaultError::Tampered { why: Tampering::ForeignKey(_), .. })));
    assert_eq!(clone.key_ids(), [second.id()]);
}

#[test]
fn only_a_tenants_own_keys_renew_its_vault() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let open = vault.tenant(&acme, &[vault.new_tenant_key(&acme)]).unwrap();
    let before = open.key_ids();
    assert!(vault.renew(&beta, &open, &[vault.new_tenant_key(&beta)]).is_err());
    assert!(vault.renew(&acme, &open, &[vault.new_tenant_key(&acme)]).is_err(), "keys of another beginning");
    assert_eq!(open.key_ids(), before);
}

/// Seals in many threads while keys change: whatever was sealed by an older key is counted until it is dropped.
#[test]
fn nothing_sealed_by_an_older_key_escapes_the_count() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = tenant("acme");
    let mut keys = vec![vault.new_tenant_key(&acme)];
    let open = vault.tenant(&acme, &keys).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let stored = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let sealed = open.seal(&PLACE, &7u32).unwrap();
                    stored.lock().unwrap().push(sealed.key_id().unwrap());
                }
            });
        }
        for _ in 0..50 {
            let old = keys.last().unwrap().id();
            keys.push(vault.successor(&acme, keys.last().unwrap()).unwrap());
            vault.renew(&acme, &open, &keys).unwrap();
            while open.in_use(old) {
                std::thread::yield_now();
            }
            let mark = stored.lock().unwrap().len();
            std::thread::sleep(std::time::Duration::from_micros(200));
            assert!(!stored.lock().unwrap()[mark..].contains(&old), "sealed by a key that was said to be unused");
            assert!(open.retire(old));
            keys.remove(0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_root_rotation_may_be_half_done_and_changes_no_derived_secret() {
    let (old, new) = (RootKey::generate(), RootKey::generate());
    let (vault, check) = Vault::create(&old);
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let (a, b) = (vault.new_tenant_key(&acme), vault.new_tenant_key(&beta));
    let derived = vault.derive("purpose");
    let sealed = vault.tenant(&acme, std::slice::from_ref(&a)).unwrap().seal(&PLACE, &1u32).unwrap();
    let hosts = vault.host().seal(&PLACE, &2u32).unwrap();

    vault.wrap_with(&new);
    assert_eq!(vault.root(), new.id());
    let moved = vault.rewrap(&acme, &a).unwrap().unwrap();
    assert_eq!((moved.root(), moved.id(), moved.generation()), (new.id(), a.id(), a.generation()));
    assert_eq!(vault.rewrap(&acme, &moved).unwrap(), None);
    assert!(vault.rewrap(&beta, &a).is_err(), "another tenant's");

    // half done: the check is still the old root's, one key is the new one's
    let half = Vault::open_with(&old, Some(&new), &check).unwrap();
    let half_other = Vault::open_with(&new, Some(&old), &check).unwrap();
    for half in [&half, &half_other] {
        assert_eq!(half.root(), old.id(), "wraps as the check says");
        assert_eq!(half.tenant(&acme, std::slice::from_ref(&moved)).unwrap().open(&PLACE, &sealed), Ok(1));
        half.tenant(&beta, std::slice::from_ref(&b)).unwrap();
    }
    let alone = Vault::open(&old, &check).unwrap();
    let missing = alone.tenant(&acme, std::slice::from_ref(&moved)).unwrap_err();
    assert_eq!(missing, VaultError::WrongRoot { expected: new.id(), found: old.id() });

    let done = half.rewrap_check(&check).unwrap();
    assert_eq!(done, None, "nothing to do before the new root wraps");
    half.wrap_with(&new);
    let done = half.rewrap_check(&check).unwrap().unwrap();
    let last = half.rewrap(&beta, &b).unwrap().unwrap();
    half.keep_one_root();
    assert!(half.tenant(&beta, &[b]).is_err());

    let after = Vault::open(&new, &KeyCheck::from_stored(done.as_bytes()).unwrap()).unwrap();
    assert!(after.derive("purpose").ct_eq(&derived));
    assert_eq!(after.host().open(&PLACE, &hosts), Ok(2));
    assert_eq!(after.tenant(&acme, &[moved]).unwrap().open(&PLACE, &sealed), Ok(1));
    after.tenant(&beta, &[last]).unwrap();
    assert_eq!(Vault::open(&old, &done).unwrap_err(), VaultError::WrongRoot { expected: new.id(), found: old.id() });
}

#[test]
fn a_proof_needs_the_right_place_and_form() {
    let (vault, _) = Vault::create(&RootKey::generate());
    let acme = tenant("acme");
    let open = vault.tenant(&acme, &[vault.new_tenant_key(&acme)]).unwrap();
    let sealed = open.seal(&PLACE, &1u32).unwrap();
    assert_eq!(open.prove(&PLACE, Form::Document, sealed.as_bytes()), Ok(open.key_id()));
    assert!(open.prove(&PLACE, Form::Secret, sealed.as_bytes()).is_err());
    assert!(open.prove(&Place { version: 2, ..PLACE }, Form::Document, sealed.as_bytes()).is_err());
    let secret = open.seal_secret(&PLACE, &Secret::from(b"x".to_vec()));
    assert_eq!(open.prove(&PLACE, Form::Secret, secret.as_bytes()), Ok(open.key_id()));
    assert!(open.prove(&PLACE, Form::Secret, b"short").is_err());
}
