use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

use super::*;

fn key() -> CheckpointKey {
    CheckpointKey::from_seed(&[7; 32])
}

fn log() -> Log {
    Log::Tenant("acme".parse().unwrap())
}

#[test]
fn a_reference_reader_opens_our_notes_with_our_verifier_key() {
    let note = Checkpoint::sign(&key(), &log(), 3, Hash([9; 32]), None);
    let verifier = StandardVerifier::new(&key().public(&log()).to_string()).unwrap();
    let parsed = Note::from_bytes(note.as_bytes()).unwrap();
    let (good, unknown) = parsed.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    assert!(parsed.text().starts_with(key().origin(&log()).as_bytes()));
}

#[test]
fn a_reference_signer_makes_what_we_open() {
    // The oracle's private key form: name, id and seed of our own key.
    let public = key().public(&log());
    let mut seed = vec![1];
    seed.extend_from_slice(&[7; 32]);
    let private = format!("PRIVATE+KEY+{}+{}+{}", public.name(), hex::encode(public.id()), STANDARD.encode(seed));
    let signer = StandardSigner::new(&private).unwrap();
    let head = Checkpoint { origin: public.name().to_owned(), size: 0, root: crate::tree::empty_root(), rows: None };
    let mut note = Note::new(head.text().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let text = String::from_utf8(note.to_bytes()).unwrap();
    assert_eq!(Checkpoint::open(&text, &public), Ok(head));
    assert_eq!(text, Checkpoint::sign(&key(), &log(), 0, crate::tree::empty_root(), None));
}

#[test]
fn other_signatures_are_ignored_and_the_logs_own_is_required() {
    let note = Checkpoint::sign(&key(), &log(), 3, Hash([9; 32]), None);
    let public = key().public(&log());
    let other = CheckpointKey::from_seed(&[8; 32]);
    let witness = Checkpoint::sign(&other, &log(), 3, Hash([9; 32]), None);
    let cosigned = format!("{note}{}", witness.split("\n\n").nth(1).unwrap());
    assert_eq!(Checkpoint::open(&cosigned, &public).unwrap().size, 3);
    assert_eq!(Checkpoint::open(&witness, &public), Err(CheckpointError::Unsigned));
    // the same key speaks for another log under another name
    let elsewhere = Log::Tenant("other".parse().unwrap());
    assert_eq!(Checkpoint::open(&note, &key().public(&elsewhere)), Err(CheckpointError::Unsigned));
}

#[test]
fn every_changed_byte_of_a_note_is_refused() {
    let note = Checkpoint::sign(&key(), &log(), 1234, Hash([9; 32]), None).into_bytes();
    let public = key().public(&log());
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone();
            changed[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(changed) {
                assert!(Checkpoint::open(&text, &public).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn a_signed_text_that_is_no_head_of_the_log_is_refused() {
    let public = key().public(&log());
    let root = STANDARD.encode([9; 32]);
    let name = public.name();
    for text in [
        format!("{name}\n03\n{root}\n"),
        format!("{name}\n+3\n{root}\n"),
        format!("{name}\n3\n{root}\nextension\n"),
        format!("{name}\n3\nAAAA\n"),
        format!("{name}\n3\n"),
        format!("elsewhere\n3\n{root}\n"),
        "\n".to_owned(),
    ] {
        let mut signature = public.id().to_vec();
        signature.extend_from_slice(&key().sign(text.as_bytes()));
        let note = format!("{text}\n{MARK}{name} {}\n", STANDARD.encode(signature));
        assert_eq!(Checkpoint::open(&note, &public), Err(CheckpointError::Text), "{text:?}");
    }
    for garbage in ["", "\n", "\n\n", "a\n\n", "a\n\n\u{2014} x y", "a\n\n\u{2014} x AAAA\n", "\n\n\n\n"] {
        assert!(Checkpoint::open(garbage, &public).is_err());
    }
}

#[test]
fn verifier_keys_round_trip_and_refuse_what_does_not_fit_together() {
    let public = key().public(&log());
    let text = public.to_string();
    assert_eq!(text.parse::<PublicKey>().unwrap(), public);
    assert!(text.replace("acme", "acmf").parse::<PublicKey>().is_err());
    for bad in ["", "a", "a+b", "a+b+c", "+00000000+AQ==", "a b+00000000+AQ=="] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
}

#[test]
fn the_private_key_is_not_shown() {
    assert!(format!("{:?}", key()).contains("[sealed]"));
    assert!(!format!("{:?}", key()).contains("7, 7"));
}
