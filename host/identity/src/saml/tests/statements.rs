//! What is said, and signed, and yet not believed.

use super::*;

#[test]
fn who_signed_in_is_believed_however_it_is_signed() {
    let idp = Idp::new();
    let (plain, signed) = (ASSERTION.replace("{sig}", ""), idp.signed(ASSERTION));
    for document in [
        around(&signed),
        idp.signed_response(&RESPONSE.replace("{assertion}", &plain)),
        idp.signed_response(&RESPONSE.replace("{assertion}", &signed)),
    ] {
        let said = idp.believes(&document).unwrap();
        let believed = said.believed;
        assert_eq!((said.assertion.as_str(), said.until_s), ("_a1", NOW + 300 + 60));
        assert_eq!((believed.sub(), believed.signed_in_s()), ("persistent eve", Some(NOW - 30)));
        assert_eq!(believed.verified_email().as_deref(), Some("eve@example.com"));
        assert_eq!(believed.values("groups"), ["staff", "ops"]);
        assert!(!believed.had_second_factor());
    }
    // In lines, as some send it.
    let document = STANDARD.encode(around(&signed));
    let lines: Vec<_> = document.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
    assert!(believe_response(&lines.join("\r\n"), &idp.expected()).is_ok());
}

#[test]
fn what_an_assertion_says_must_be_true_of_this_attempt() {
    let idp = Idp::new();
    let refused = |from: &str, to: &str| {
        assert!(ASSERTION.contains(from), "{from}");
        idp.refuses(&around(&idp.signed(&ASSERTION.replacen(from, to, 1))))
    };
    let data = "</saml:SubjectConfirmationData>";
    for (from, to, rule) in [
        ("<saml:Issuer>https://idp", "<saml:Issuer>https://evil", "sso.iss"),
        ("<saml:Issuer>", r#"<saml:Issuer Format="urn:other">"#, "sso.iss"),
        (r#"Version="2.0""#, r#"Version="1.1""#, "sso.xml"),
        (r#"IssueInstant="2027-01-15T08:00:00Z""#, r#"IssueInstant="2027-01-15T07:49:00Z""#, "sso.iat"),
        (r#"IssueInstant="2027-01-15T08:00:00Z""#, r#"IssueInstant="2027-01-15T08:02:00Z""#, "sso.iat"),
        (r#"IssueInstant="2027-01-15T08:00:00Z""#, r#"IssueInstant="2027-01-15T08:00:00+00:00""#, "sso.iat"),
        ("2.0:nameid-format:persistent", "2.0:nameid-format:transient", "sso.sub"),
        (">eve<", "><", "sso.sub"),
        (">eve<", "> eve<", "sso.sub"),
        (">eve<", "><saml:x>eve</saml:x><", "sso.sub"),
        ("persistent\">", "persistent\" NameQualifier=\"urn:other\">", "sso.sub"),
        ("persistent\">", "persistent\" SPNameQualifier=\"urn:other\">", "sso.sub"),
        ("cm:bearer", "cm:sender-vouches", "sso.confirmation"),
        ("InResponseTo=\"_r1\"", "InResponseTo=\"_r2\"", "sso.in-response-to"),
        ("InResponseTo=\"_r1\" ", "", "sso.in-response-to"),
        ("corp/acs\">", "corp/acs?\">", "sso.recipient"),
        ("acme/corp/acs\">", "beta/corp/acs\">", "sso.recipient"),
        (" NotOnOrAfter=\"2027-01-15T08:05:00Z\" Recipient", " Recipient", "sso.exp"),
        (
            "NotOnOrAfter=\"2027-01-15T08:05:00Z\" Recipient",
            "NotOnOrAfter=\"2027-01-15T07:59:00Z\" Recipient",
            "sso.exp",
        ),
        (
            "NotOnOrAfter=\"2027-01-15T08:05:00Z\" Recipient",
            "NotBefore=\"2027-01-15T07:00:00Z\" NotOnOrAfter=\"2027-01-15T08:05:00Z\" Recipient",
            "sso.nbf",
        ),
        ("NotBefore=\"2027-01-15T07:59:00Z\"", "NotBefore=\"2027-01-15T08:01:01Z\"", "sso.nbf"),
        (
            "NotOnOrAfter=\"2027-01-15T08:05:00Z\"><saml:Aud",
            "NotOnOrAfter=\"2027-01-15T07:59:00Z\"><saml:Aud",
            "sso.exp",
        ),
        ("NotOnOrAfter=\"2027-01-15T08:05:00Z\"><saml:Aud", "NotOnOrAfter=\"soon\"><saml:Aud", "sso.conditions"),
        ("corp/metadata</saml:Audience>", "other/metadata</saml:Audience>", "sso.aud"),
        ("</saml:Audience>", "</saml:Audience><saml:Audience>urn:other</saml:Audience>", "sso.aud"),
        (
            "</saml:AudienceRestriction>",
            "</saml:AudienceRestriction><saml:AudienceRestriction><saml:Audience>urn:other</saml:Audience></saml:AudienceRestriction>",
            "sso.aud",
        ),
        ("<saml:AudienceRestriction>", "<saml:Condition></saml:Condition><saml:AudienceRestriction>", "sso.conditions"),
        (" AuthnInstant=\"2027-01-15T07:59:30Z\"", "", "sso.auth-time"),
        ("AuthnInstant=\"2027-01-15T07:59:30Z\"", "AuthnInstant=\"2027-01-15T08:02:00Z\"", "sso.auth-time"),
        (
            "AuthnInstant=\"2027-01-15T07:59:30Z\"",
            "AuthnInstant=\"2027-01-15T07:59:30Z\" SessionNotOnOrAfter=\"2027-01-15T07:59:00Z\"",
            "sso.exp",
        ),
        ("</saml:Subject>", "</saml:Subject><saml:Subject></saml:Subject>", "sso.sub"),
        (
            data,
            &format!(
                "{data}</saml:SubjectConfirmation><saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">"
            ),
            "sso.confirmation",
        ),
        (
            "<saml:Subject>",
            "<saml:Advice><saml:EncryptedAssertion></saml:EncryptedAssertion></saml:Advice><saml:Subject>",
            "sso.encrypted",
        ),
        (
            "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">eve</saml:NameID>",
            "<saml:EncryptedID></saml:EncryptedID>",
            "sso.encrypted",
        ),
    ] {
        assert_eq!(refused(from, to), rule, "{to}");
    }
    let without = |from: &str, to: &str| {
        let (start, end) = (ASSERTION.find(from).unwrap(), ASSERTION.find(to).unwrap() + to.len());
        idp.refuses(&around(&idp.signed(&format!("{}{}", &ASSERTION[..start], &ASSERTION[end..]))))
    };
    assert_eq!(without("<saml:Conditions", "</saml:Conditions>"), "sso.aud");
    assert_eq!(without("<saml:AudienceRestriction>", "</saml:AudienceRestriction>"), "sso.aud");
    assert_eq!(without("<saml:AuthnStatement", "</saml:AuthnStatement>"), "sso.statement");
    assert_eq!(without("<saml:Subject>", "</saml:Subject>"), "sso.sub");
}

#[test]
fn what_is_said_around_it_must_be_true_as_well() {
    let idp = Idp::new();
    let signed = idp.signed(ASSERTION);
    for (from, to, rule) in [
        ("corp/acs\" ID", "corp/other\" ID", "sso.destination"),
        ("Destination=\"https://host.example/v1/login/sso/acme/corp/acs\" ", "", "sso.destination"),
        ("InResponseTo=\"_r1\" ", "", "sso.in-response-to"),
        ("InResponseTo=\"_r1\"", "InResponseTo=\"_r2\"", "sso.in-response-to"),
        (">https://idp", ">https://evil", "sso.iss"),
        ("IssueInstant=\"2027-01-15T08:00:00Z\"", "IssueInstant=\"2027-01-14T08:00:00Z\"", "sso.iat"),
        ("Version=\"2.0\"", "Version=\"1.1\"", "sso.xml"),
        ("status:Success", "status:Responder", "sso.provider-error"),
        ("<samlp:Status>", "<samlp:Status></samlp:Status><samlp:Status>", "sso.provider-error"),
        ("{assertion}", "", "sso.xml"),
        ("samlp:Response", "samlp:LogoutResponse", "sso.xml"),
    ] {
        assert!(RESPONSE.contains(from), "{from}");
        let changed = RESPONSE.replace(from, to);
        assert_eq!(idp.refuses(&changed.replace("{rsig}", "").replace("{assertion}", &signed)), rule, "{to}");
        let by_response = idp.signed_response(&changed.replace("{assertion}", &ASSERTION.replace("{sig}", "")));
        assert_eq!(idp.refuses(&by_response), rule, "{to}, signed");
    }
}

#[test]
fn a_person_is_named_as_was_agreed_and_an_address_is_that_of_the_agreed_attribute() {
    let idp = Idp::new();
    let email = ASSERTION
        .replace("2.0:nameid-format:persistent", "1.1:nameid-format:emailAddress")
        .replace(">eve<", ">Eve@corp.example<");
    let believes = |assertion: &str, expected: &SamlExpected<'_>| {
        believe_response(&STANDARD.encode(around(&idp.signed(assertion))), expected).map(|said| said.believed)
    };
    let by_email = SamlExpected { name_id: NameIdFormat::Email, ..idp.expected() };
    let believed = believes(&email, &by_email).unwrap();
    assert_eq!(
        (believed.sub(), believed.verified_email().unwrap().as_str()),
        ("email Eve@corp.example", "eve@corp.example")
    );
    assert_eq!(believes(&email, &idp.expected()).unwrap_err().rule, "sso.sub");
    assert_eq!(believes(ASSERTION, &by_email).unwrap_err().rule, "sso.sub");
    let named = SamlExpected { email: Some("work"), ..idp.expected() };
    assert_eq!(believes(ASSERTION, &named).unwrap().verified_email(), None);
    let work = ASSERTION.replace("Name=\"email\"", "Name=\"work\"");
    assert_eq!(believes(&work, &named).unwrap().verified_email().as_deref(), Some("eve@example.com"));
    assert_eq!(believes(&work, &idp.expected()).unwrap().verified_email(), None);
    // Of two addresses none is the person's.
    let two = ASSERTION.replace(
        "</saml:AttributeValue></saml:Attribute>",
        "</saml:AttributeValue><saml:AttributeValue>x@example.com</saml:AttributeValue></saml:Attribute>",
    );
    assert_eq!(believes(&two, &idp.expected()).unwrap().verified_email(), None);
}

#[test]
fn several_factors_and_a_sign_in_anew_are_taken_at_its_word() {
    let idp = Idp::new();
    let says = |assertion: &str| idp.believes(&around(&idp.signed(assertion))).unwrap().believed.had_second_factor();
    assert!(says(
        &ASSERTION.replace("urn:oasis:names:tc:SAML:2.0:ac:classes:Password", "https://refeds.org/profile/mfa")
    ));
    let methods = "Name=\"http://schemas.microsoft.com/claims/authnmethodsreferences\"";
    let several = ASSERTION
        .replace("Name=\"groups\"", methods)
        .replace(">ops<", ">http://schemas.microsoft.com/claims/multipleauthn<");
    assert!(says(&several) && !says(&several.replace(methods, "Name=\"methods\"")));
    let anew = |since: i64| {
        let expected = SamlExpected { anew_since_s: Some(since), ..idp.expected() };
        believe_response(&STANDARD.encode(around(&idp.signed(ASSERTION))), &expected).map_err(|fault| fault.rule)
    };
    assert!(anew(NOW - 10).is_ok());
    assert_eq!(anew(NOW + 31).unwrap_err(), "sso.auth-time");
}
