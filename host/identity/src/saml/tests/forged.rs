//! Signatures that are none, or are of something else than what is read.

use super::*;
use crate::public_key::Algorithm;
use crate::saml::c14n::canonical;
use crate::saml::xml::{Kind, is, parse};

/// What others have done: whatever the signature refers to is looked for by its id anywhere, and whatever is there is read. The twin of all
/// that is refused below: it shows that the signature is good, and mallory is there to be believed.
fn careless(idp: &Idp, document: &str) -> bool {
    let document = parse(document, Kind::Metadata).unwrap();
    let named = |name: &str| document.descendants().find(|node| is(*node, ns::SIGNATURE, name)).unwrap();
    let decoded = |name: &str| STANDARD.decode(named(name).text().unwrap()).unwrap();
    let info = canonical(named("SignedInfo"), None, &[]).unwrap();
    let by_idp = idp.certificate.key.verifies(Algorithm::Es256, info.as_bytes(), &decoded("SignatureValue"));
    let id = &named("Reference").attribute("URI").unwrap()[1..];
    let element = document.descendants().filter(|node| node.attribute("ID") == Some(id)).last().unwrap();
    let element = canonical(element, Some(named("Signature").id()), &[]).unwrap();
    let good = by_idp && digest(&SHA256, element.as_bytes()).as_ref() == decoded("DigestValue");
    let names = document.descendants().filter(|node| is(*node, ns::ASSERTION, "NameID"));
    good && names.into_iter().any(|name| name.text().is_some_and(|name| name.contains("mallory")))
}

#[test]
fn no_wrapping_of_a_good_signature_is_believed() {
    let idp = Idp::new();
    let original = ASSERTION.replace("{sig}", "");
    let signature = idp.signature(&original, "_a1", |info| info);
    let signed = ASSERTION.replace("{sig}", &signature);
    let evil = original.replace(">eve<", ">mallory<").replace("_a1", "_evil");
    let evil_with =
        |inside: &str| ASSERTION.replace(">eve<", ">mallory<").replace("_a1", "_evil").replace("{sig}", inside);
    let whole = RESPONSE.replace("{assertion}", &original);
    let bare = whole.replace("{rsig}", "");
    let whole_signature = idp.signature(&bare, "_p1", |info| info);
    let outer = |before: &str, signature: &str| {
        let evil = RESPONSE.replace("{assertion}", &evil).replace("_p1", "_evil-response").replace("{rsig}", signature);
        evil.replace("<samlp:Status>", &format!("{before}<samlp:Status>"))
    };
    let within = |signature: &str, inside: &str, object: bool| {
        let inside = if object { format!("<ds:Object>{inside}</ds:Object>") } else { inside.to_owned() };
        signature.replace("</ds:Signature>", &format!("{inside}</ds:Signature>"))
    };
    let extended = |inside: &str| {
        around(&signed)
            .replace("<samlp:Status>", &format!("<samlp:Extensions>{inside}</samlp:Extensions><samlp:Status>"))
    };
    for (name, document) in [
        ("XSW1", outer("", &within(&whole_signature, &bare, false))),
        ("XSW2", outer(&bare, &whole_signature)),
        ("XSW3", around(&format!("{evil}{signed}"))),
        ("XSW3, after", around(&format!("{signed}{evil}"))),
        ("XSW4", around(&evil_with(&signed))),
        ("XSW5", around(&format!("{}{original}", evil_with(&signature)))),
        ("XSW6", around(&evil_with(&within(&signature, &original, false)))),
        ("XSW7", extended(&evil)),
        ("XSW8", around(&evil_with(&within(&signature, &original, true)))),
        ("one id twice", around(&format!("{}{signed}", evil.replace("_evil", "_a1")))),
        (
            "the signature of another place",
            around(&evil).replace("</samlp:Response>", &format!("<x>{signed}</x></samlp:Response>")),
        ),
        ("in no namespace", extended(&evil.replace("urn:oasis:names:tc:SAML:2.0:assertion", "urn:x"))),
    ] {
        assert_eq!(idp.refuses(&document), "sso.wrapped", "{name}");
        if name != "in no namespace" {
            assert!(careless(&idp, &document), "{name} is no attack");
        }
    }
    // What a signature refers to is what holds it, even where nothing else is there.
    let signature = idp.signature(&bare, "_p1", |info| info);
    assert_eq!(idp.refuses(&around(&ASSERTION.replace("{sig}", &signature))), "sso.wrapped");
}

#[test]
fn what_is_not_signed_or_changed_is_not_believed() {
    let idp = Idp::new();
    let signed = idp.signed(ASSERTION);
    assert_eq!(idp.refuses(&around(&ASSERTION.replace("{sig}", ""))), "sso.unsigned");
    assert_eq!(idp.refuses(&around(&signed.replace(">eve<", ">mallory<"))), "sso.signature");
    assert_eq!(idp.refuses(&around(&signed.replace(">ops<", ">owners<"))), "sso.signature");
    // A signature of the response says nothing for one of the assertion that is bad, nor the other way about.
    let whole = idp.signed_response(&RESPONSE.replace("{assertion}", &signed.replace(">eve<", ">mallory<")));
    assert_eq!(idp.refuses(&whole), "sso.signature");
    let whole = idp.signed_response(&RESPONSE.replace("{assertion}", &signed)).replace("_r1\" Issue", "_r2\" Issue");
    assert_eq!(idp.refuses(&whole), "sso.signature");
}

#[test]
fn a_key_that_comes_along_is_not_believed() {
    let (idp, evil) = (Idp::new(), Idp::new());
    let document = around(&evil.signed(&ASSERTION.replace(">eve<", ">mallory<")));
    assert_eq!(idp.refuses(&document), "sso.signature");
    assert!(evil.believes(&document).is_ok(), "where it is configured it is as good as any");
    // What is said of the key is passed over, so it may as well be a lie, or left out.
    let signed = idp.signed(ASSERTION);
    let (start, end) = (signed.find("<ds:KeyInfo>").unwrap(), signed.find("</ds:Signature>").unwrap());
    assert!(idp.believes(&around(&format!("{}{}", &signed[..start], &signed[end..]))).is_ok());
    // While a key is changed, both are good.
    let both = [evil.certificate.clone(), idp.certificate.clone()];
    let expected = SamlExpected { certificates: &both, ..idp.expected() };
    assert!(believe_response(&STANDARD.encode(around(&signed)), &expected).is_ok());
    let none = SamlExpected { certificates: &[], ..idp.expected() };
    assert!(believe_response(&STANDARD.encode(around(&signed)), &none).is_err());
}

#[test]
fn what_is_signed_in_another_way_is_not_believed() {
    let idp = Idp::new();
    let refused = |from: &str, to: &str| {
        let original = ASSERTION.replace("{sig}", "");
        let signature = idp.signature(&original, "_a1", |info| {
            assert!(info.contains(from), "{from}");
            info.replacen(from, to, 1)
        });
        idp.refuses(&around(&ASSERTION.replace("{sig}", &signature)))
    };
    let last = "<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:Transform>";
    for (from, to, rule) in [
        ("2001/04/xmldsig-more#ecdsa-sha256", "2000/09/xmldsig#rsa-sha1", "sso.alg"),
        ("2001/04/xmldsig-more#ecdsa-sha256", "2001/04/xmldsig-more#ecdsa-sha1", "sso.alg"),
        ("2001/04/xmldsig-more#ecdsa-sha256", "2000/09/xmldsig#hmac-sha1", "sso.alg"),
        ("2001/04/xmldsig-more#ecdsa-sha256", "2001/04/xmldsig-more#hmac-sha256", "sso.alg"),
        ("more#ecdsa-sha256", "more#rsa-sha256", "sso.signature"),
        ("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1", "sso.alg"),
        ("2001/04/xmlenc#sha256", "2001/04/xmlenc#sha512", "sso.signature"),
        (
            "CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"",
            "CanonicalizationMethod Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"",
            "sso.signature-form",
        ),
        (
            "CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"",
            "CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#WithComments\"",
            "sso.signature-form",
        ),
        (last, "", "sso.signature-form"),
        (
            last,
            "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"></ds:Transform>",
            "sso.signature-form",
        ),
        (last, &format!("{last}{last}"), "sso.signature-form"),
        ("#_a1", "", "sso.wrapped"),
        ("#_a1", "#xpointer(/)", "sso.wrapped"),
        ("#_a1", "#_p1", "sso.wrapped"),
        ("</ds:Reference>", "</ds:Reference><ds:Reference URI=\"#_p1\"></ds:Reference>", "sso.signature-form"),
    ] {
        assert_eq!(refused(from, to), rule, "{to}");
    }
    // Beside what is signed there is nothing in a signature.
    let signed = idp.signed(ASSERTION);
    for (from, to) in [
        ("</ds:Signature>", "<ds:Object></ds:Object></ds:Signature>"),
        ("<ds:SignedInfo", "<ds:x></ds:x><ds:SignedInfo"),
    ] {
        assert_eq!(idp.refuses(&around(&signed.replace(from, to))), "sso.signature-form");
    }
}
