use super::*;
use crate::{RootKey, Vault};

const PLACE: Place<'static> = Place { table: "audit_entry", row: &["00ff"], column: "content", version: 1 };
const CANARY: &str = "CANARY-5f1e20";

fn tenant(name: &str) -> TenantVault {
    let (vault, _) = Vault::create(&RootKey::generate());
    let id = name.parse().unwrap();
    vault.tenant(&id, &[vault.new_tenant_key(&id)]).unwrap()
}

fn stored(sealed: &Sealed<Secret>) -> Sealed<Secret> {
    Sealed::from_stored(sealed.as_bytes().to_vec())
}

#[test]
fn what_a_subjects_key_seals_opens_under_it_alone() {
    let vault = tenant("acme");
    let (ann, bob) = (vault.subject_index("ann"), vault.subject_index("bob"));
    let (key, kept) = vault.new_subject_key(&ann);
    let (other, _) = vault.new_subject_key(&bob);
    let apart = key.seal(&PLACE, &CANARY.to_owned()).unwrap();
    assert_eq!(apart.key_id(), Some(key.id()));

    let json = serde_json::to_string(&apart).unwrap();
    assert!(!json.contains(CANARY) && !format!("{apart:?} {key:?}").contains(CANARY));
    let again: Apart<String> = serde_json::from_str(&json).unwrap();
    let reopened = vault.subject_key(key.id(), &ann, &stored(&kept)).unwrap();
    assert_eq!(reopened.open(&PLACE, &again).as_deref(), Ok(CANARY));

    let foreign = Tampering::ForeignKey(other.id());
    assert_eq!(other.open(&PLACE, &apart), Err(PLACE.tampered(foreign)));
    for place in [Place { row: &["00fe"], ..PLACE }, Place { column: "x", ..PLACE }, Place { version: 2, ..PLACE }] {
        assert_eq!(key.open(&place, &apart), Err(place.tampered(Tampering::Changed)));
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let vault = tenant("acme");
    let (key, _) = vault.new_subject_key(&[7; 32]);
    let apart = key.seal(&PLACE, &CANARY.to_owned()).unwrap();
    for at in 0..apart.bytes.len() {
        let mut changed = apart.clone();
        changed.bytes[at] ^= 1;
        assert!(key.open(&PLACE, &changed).is_err(), "byte {at}");
    }
    for length in 0..apart.bytes.len() {
        let cut: Apart<String> = Apart { bytes: apart.bytes[..length].to_vec(), value: PhantomData };
        assert!(key.open(&PLACE, &cut).is_err(), "{length} bytes");
    }
}

#[test]
fn a_stored_key_is_bound_to_its_tenant_its_subject_and_its_id() {
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let (key, kept) = acme.new_subject_key(&[1; 32]);
    assert!(acme.subject_key(key.id(), &[1; 32], &stored(&kept)).is_ok());
    assert!(acme.subject_key(key.id(), &[2; 32], &stored(&kept)).is_err());
    assert!(acme.subject_key(KeyId::from_bytes([0; 8]), &[1; 32], &stored(&kept)).is_err());
    assert!(beta.subject_key(key.id(), &[1; 32], &stored(&kept)).is_err());
    assert_ne!(acme.subject_index("ann"), beta.subject_index("ann"));
}
