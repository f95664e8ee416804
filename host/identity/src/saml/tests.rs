//! A provider in memory whose documents are written in their canonical form by hand, so that what is tested is not what they are made with.

mod documents;
mod forged;
mod statements;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::SsoFault;

const IDP: &str = "https://idp.example.com/metadata";
const SP: &str = "https://host.example/v1/login/sso/acme/corp/metadata";
const ACS: &str = "https://host.example/v1/login/sso/acme/corp/acs";
const REQUEST: &str = "_r1";
/// The second of `2027-01-15T08:00:00Z`.
const NOW: i64 = 1_800_000_000;

/// An assertion as it is hashed, but for `{sig}`, where its signature goes.
const ASSERTION: &str = concat!(
    r#"<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a1" IssueInstant="2027-01-15T08:00:00Z" Version="2.0">"#,
    r#"<saml:Issuer>https://idp.example.com/metadata</saml:Issuer>{sig}"#,
    r#"<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">eve</saml:NameID>"#,
    r#"<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">"#,
    r#"<saml:SubjectConfirmationData InResponseTo="_r1" NotOnOrAfter="2027-01-15T08:05:00Z" Recipient="https://host.example/v1/login/sso/acme/corp/acs">"#,
    r#"</saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>"#,
    r#"<saml:Conditions NotBefore="2027-01-15T07:59:00Z" NotOnOrAfter="2027-01-15T08:05:00Z"><saml:AudienceRestriction>"#,
    r#"<saml:Audience>https://host.example/v1/login/sso/acme/corp/metadata</saml:Audience></saml:AudienceRestriction></saml:Conditions>"#,
    r#"<saml:AuthnStatement AuthnInstant="2027-01-15T07:59:30Z"><saml:AuthnContext><saml:AuthnContextClassRef>"#,
    r#"urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"#,
    r#"<saml:AttributeStatement><saml:Attribute Name="email"><saml:AttributeValue>Eve@Example.com</saml:AttributeValue></saml:Attribute>"#,
    r#"<saml:Attribute Name="groups"><saml:AttributeValue>staff</saml:AttributeValue><saml:AttributeValue>ops</saml:AttributeValue>"#,
    r#"</saml:Attribute></saml:AttributeStatement></saml:Assertion>"#,
);

/// A response as it is hashed, but for `{rsig}` and `{assertion}`.
const RESPONSE: &str = concat!(
    r#"<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" Destination="https://host.example/v1/login/sso/acme/corp/acs" "#,
    r#"ID="_p1" InResponseTo="_r1" IssueInstant="2027-01-15T08:00:00Z" Version="2.0">"#,
    r#"<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">https://idp.example.com/metadata</saml:Issuer>{rsig}"#,
    r#"<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"></samlp:StatusCode></samlp:Status>"#,
    r#"{assertion}</samlp:Response>"#,
);

struct Idp {
    key: EcdsaKeyPair,
    certificate: Certificate,
}

impl Idp {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let certificate = Certificate::read(&STANDARD.encode(certificate.der())).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
        Self { key, certificate }
    }

    /// A signature of an element in its canonical form, its information changed before it is signed.
    fn signature(&self, element: &str, id: &str, change: impl Fn(String) -> String) -> String {
        let hash = STANDARD.encode(digest(&SHA256, element.as_bytes()));
        let info = change(format!(
            concat!(
                r#"<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">"#,
                r#"<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>"#,
                r#"<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"></ds:SignatureMethod>"#,
                r##"<ds:Reference URI="#{}"><ds:Transforms>"##,
                r#"<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>"#,
                r#"<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>"#,
                r#"<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>"#,
                r#"<ds:DigestValue>{}</ds:DigestValue></ds:Reference></ds:SignedInfo>"#,
            ),
            id, hash
        ));
        let placed = info.replacen(r#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#""#, "", 1);
        let value = STANDARD.encode(self.key.sign(&SystemRandom::new(), info.as_bytes()).unwrap());
        format!(
            r#"<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{placed}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>"#,
            self.certificate.base64()
        )
    }

    /// An assertion with its signature in its place.
    fn signed(&self, assertion: &str) -> String {
        assertion.replace("{sig}", &self.signature(&assertion.replace("{sig}", ""), "_a1", |info| info))
    }

    /// A response with its signature in its place.
    fn signed_response(&self, response: &str) -> String {
        response.replace("{rsig}", &self.signature(&response.replace("{rsig}", ""), "_p1", |info| info))
    }

    /// What is expected of it.
    fn expected(&self) -> SamlExpected<'_> {
        SamlExpected {
            entity_id: IDP,
            certificates: std::slice::from_ref(&self.certificate),
            sp: SP,
            acs: ACS,
            request: REQUEST,
            name_id: NameIdFormat::Persistent,
            email: None,
            now_s: NOW,
            anew_since_s: None,
        }
    }

    fn believes(&self, document: &str) -> Result<SamlBelieved, SsoFault> {
        believe_response(&STANDARD.encode(document), &self.expected())
    }

    /// The rule that refuses it.
    #[track_caller]
    fn refuses(&self, document: &str) -> &'static str {
        self.believes(document).expect_err("it is believed").rule
    }
}

/// A response around an assertion, itself not signed.
fn around(assertion: &str) -> String {
    RESPONSE.replace("{rsig}", "").replace("{assertion}", assertion)
}
