//! What a browser brings from a provider, and whether it is believed (profiles section 4.1.4.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;

use super::assertion;
use super::certificate::Certificate;
use super::ns;
use super::request::NameIdFormat;
use super::signature::signed_bytes;
use super::xml::{Kind, attribute, children, is, only, parse, text};
use crate::believed::Believed;
use crate::sso_fault::{SsoFault, refuse};

/// Seconds that the clocks of host and provider may differ by.
pub(super) const SKEW_S: i64 = 60;
/// Seconds after which a response was made too long ago for the attempt that just came back.
pub(super) const OLDEST_S: i64 = 10 * 60;
/// Characters of a response as it is sent, at most.
const LONGEST: usize = 280 << 10;

/// What a response must say.
#[derive(Debug, Clone, Copy)]
pub struct SamlExpected<'a> {
    /// Who made it, exactly.
    pub entity_id: &'a str,
    /// By which of its certificates.
    pub certificates: &'a [Certificate],
    /// For whom, and for nobody else.
    pub sp: &'a str,
    /// Sent where.
    pub acs: &'a str,
    /// In answer to which request.
    pub request: &'a str,
    /// What people are named by.
    pub name_id: NameIdFormat,
    /// The attribute that is somebody's e-mail address; by default those by which it is known.
    pub email: Option<&'a str>,
    /// Now, in seconds since 1970.
    pub now_s: i64,
    /// Since when the person must have signed in at the provider, where that was asked for; in seconds since 1970.
    pub anew_since_s: Option<i64>,
}

/// What was believed.
#[derive(Debug, Clone)]
pub struct SamlBelieved {
    /// Who signed in.
    pub believed: Believed,
    /// The id of the assertion that says so, which is good once.
    pub assertion: String,
    /// Until when it could be shown again, in seconds since 1970.
    pub until_s: i64,
}

/// Believes a response as it is sent, in base64, or says what speaks against it.
///
/// # Errors
/// `sso.xml`, `sso.encrypted`, `sso.wrapped`, `sso.unsigned`; `sso.signature-form`, `sso.alg`, `sso.signature`; `sso.provider-error`; then
/// each statement by its own name, such as `sso.aud`.
pub fn believe_response(sent: &str, expected: &SamlExpected<'_>) -> Result<SamlBelieved, SsoFault> {
    // Some send it in lines.
    let sent: String = sent.chars().filter(|letter| !letter.is_ascii_whitespace()).take(LONGEST + 1).collect();
    let decoded = STANDARD.decode(&sent).ok().filter(|_| sent.len() <= LONGEST);
    let Some(document) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return refuse("sso.xml", "the response is not UTF-8 in base64, or too long");
    };
    let document = parse(&document, Kind::Response)?;
    let response = document.root_element();
    let found = parts(response)?;
    // Only a refusal could come of what is not signed.
    status(response)?;
    let Parts { assertion: Some(assertion), response_signature, assertion_signature } = found else {
        return refuse("sso.xml", "the response holds no assertion");
    };
    let by_response = response_signature.map(|signature| signed_bytes(response, signature, expected.certificates));
    let by_response = by_response.transpose()?;
    let by_assertion = assertion_signature.map(|signature| signed_bytes(assertion, signature, expected.certificates));
    let by_assertion = by_assertion.transpose()?;

    let signed_response = by_response.as_deref().map(|bytes| parse(bytes, Kind::Response)).transpose()?;
    let signed_assertion = by_assertion.as_deref().map(|bytes| parse(bytes, Kind::Response)).transpose()?;
    let outer = signed_response.as_ref().map(roxmltree::Document::root_element);
    // What is believed stands in bytes that were signed; nothing of the tree that was sent is.
    let inner = match (&signed_assertion, outer) {
        (Some(signed), _) => Some(signed.root_element()),
        (None, Some(outer)) => only(outer, ns::ASSERTION, "Assertion"),
        (None, None) => None,
    };
    let Some(inner) = inner else { return refuse("sso.unsigned", "neither the response nor its assertion is signed") };
    // Where the response is not signed it can but speak against itself.
    envelope(outer.unwrap_or(response), expected)?;
    assertion::believe(inner, expected)
}

/// The parts that count.
struct Parts<'a, 'i> {
    assertion: Option<Node<'a, 'i>>,
    response_signature: Option<Node<'a, 'i>>,
    assertion_signature: Option<Node<'a, 'i>>,
}

/// Finds them, wherever they stand, and refuses what stands where nothing should: all wrapping of signatures needs a second assertion or
/// response, a signature in another place, or one id twice.
fn parts<'a, 'i>(response: Node<'a, 'i>) -> Result<Parts<'a, 'i>, SsoFault> {
    if !is(response, ns::PROTOCOL, "Response") {
        return refuse("sso.xml", "what was sent is no response of SAML 2.0");
    }
    let mut ids: Vec<&str> = Vec::new();
    let (mut assertions, mut signatures) = (Vec::new(), Vec::new());
    for node in response.descendants().filter(Node::is_element) {
        let ids_here = node.attributes().filter(|attribute| attribute.name().eq_ignore_ascii_case("id"));
        ids.extend(ids_here.map(|attribute| attribute.value()));
        // By their names alone: in whatever namespace, they could be taken for what they are called.
        match node.tag_name().name() {
            "EncryptedAssertion" | "EncryptedID" | "EncryptedAttribute" | "EncryptedData" => {
                return refuse(
                    "sso.encrypted",
                    "a part of the response is encrypted, which is not supported: have the provider sign alone",
                );
            }
            "Response" if node != response => return refuse("sso.wrapped", "the response holds another"),
            "Assertion" => assertions.push(node),
            "Signature" => signatures.push(node),
            _ => {}
        }
    }
    ids.sort_unstable();
    if ids.windows(2).any(|two| two[0] == two[1]) {
        return refuse("sso.wrapped", "one id stands in the response twice");
    }
    let assertion = match assertions.as_slice() {
        [] => None,
        [one] if is(*one, ns::ASSERTION, "Assertion") && one.parent() == Some(response) => Some(*one),
        [_] => return refuse("sso.wrapped", "the assertion stands where none should"),
        _ => return refuse("sso.wrapped", "the response holds several assertions"),
    };
    let (mut response_signature, mut assertion_signature) = (None, None);
    for signature in signatures {
        let place = match signature.parent() {
            Some(parent) if parent == response => &mut response_signature,
            Some(parent) if Some(parent) == assertion => &mut assertion_signature,
            _ => return refuse("sso.wrapped", "a signature stands where none should"),
        };
        if !is(signature, ns::SIGNATURE, "Signature") || place.replace(signature).is_some() {
            return refuse("sso.wrapped", "an element has two signatures, or one that is none");
        }
    }
    Ok(Parts { assertion, response_signature, assertion_signature })
}

/// Whether the provider says that it went well (core section 3.2.2).
fn status(response: Node<'_, '_>) -> Result<(), SsoFault> {
    let status = only(response, ns::PROTOCOL, "Status");
    let code = status.and_then(|status| only(status, ns::PROTOCOL, "StatusCode"));
    let value = code.and_then(|code| attribute(code, "Value")).unwrap_or_default();
    if value == "urn:oasis:names:tc:SAML:2.0:status:Success" {
        return Ok(());
    }
    let second = code.and_then(|code| only(code, ns::PROTOCOL, "StatusCode"));
    let known =
        [second.and_then(|code| attribute(code, "Value")), Some(value)].into_iter().flatten().find_map(known_status);
    let message = format!("the provider answers with the status {}", known.unwrap_or("of its own"));
    Err(SsoFault::new("sso.provider-error", message))
}

/// A status that is known (core section 3.2.2.2); no other is repeated.
fn known_status(value: &str) -> Option<&'static str> {
    const KNOWN: &[&str] = &[
        "AuthnFailed",
        "InvalidAttrNameOrValue",
        "InvalidNameIDPolicy",
        "NoAuthnContext",
        "NoAvailableIDP",
        "NoPassive",
        "NoSupportedIDP",
        "PartialLogout",
        "ProxyCountExceeded",
        "RequestDenied",
        "RequestUnsupported",
        "RequestVersionDeprecated",
        "RequestVersionTooHigh",
        "RequestVersionTooLow",
        "UnknownPrincipal",
        "UnsupportedBinding",
        "Requester",
        "Responder",
        "VersionMismatch",
    ];
    let word = value.strip_prefix("urn:oasis:names:tc:SAML:2.0:status:")?;
    KNOWN.iter().find(|known| **known == word).copied()
}

/// What is said around the assertion.
fn envelope(response: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<(), SsoFault> {
    if attribute(response, "Version") != Some("2.0") {
        return refuse("sso.xml", "the response is not of SAML 2.0");
    }
    if attribute(response, "Destination") != Some(expected.acs) {
        return refuse("sso.destination", "the response was not sent to this address");
    }
    match attribute(response, "InResponseTo") {
        Some(request) if request == expected.request => {}
        Some(_) => return refuse("sso.in-response-to", "the response answers another request"),
        None => return refuse("sso.in-response-to", "the response answers no request: sign-in begins here"),
    }
    for issuer in children(response, ns::ASSERTION, "Issuer") {
        if !is_issuer(issuer, expected.entity_id) {
            return refuse("sso.iss", "the response was made by another provider");
        }
    }
    made_now(response, expected.now_s)
}

/// Whether that is who the provider is (core section 2.2.5).
pub(super) fn is_issuer(issuer: Node<'_, '_>, entity_id: &str) -> bool {
    let entity =
        attribute(issuer, "Format").is_none_or(|format| format == "urn:oasis:names:tc:SAML:2.0:nameid-format:entity");
    entity && text(issuer).as_deref() == Some(entity_id)
}

/// Refuses what was made long ago, or will be.
pub(super) fn made_now(element: Node<'_, '_>, now_s: i64) -> Result<(), SsoFault> {
    let issued = attribute(element, "IssueInstant").and_then(instant);
    match issued {
        Some(issued) if (-OLDEST_S..=SKEW_S).contains(&issued.saturating_sub(now_s)) => Ok(()),
        Some(_) => refuse("sso.iat", "what was sent was made long before this attempt, or in the future"),
        None => refuse("sso.iat", "what was sent does not say since when"),
    }
}

/// A time in UTC (core section 1.3.3), in whole seconds since 1970.
pub(super) fn instant(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let form = bytes.len() <= 40 && bytes.get(10) == Some(&b'T') && bytes.last() == Some(&b'Z');
    text.parse::<jiff::Timestamp>().ok().filter(|_| form).map(jiff::Timestamp::as_second)
}
