//! What an assertion says, and what must be true of it (profiles section 4.1.4; core section 2). Read from bytes that were signed.

use roxmltree::Node;
use serde_json::{Map, Value};

use super::ns;
use super::request::NameIdFormat;
use super::response::{SKEW_S, SamlBelieved, SamlExpected, instant, is_issuer, made_now};
use super::xml::{attribute, children, only, text};
use crate::believed::Believed;
use crate::sso_fault::{SsoFault, refuse};

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
/// Characters of a subject, at most.
const SUBJECT: usize = 255;
/// By which several factors are known: the profile of REFEDS, and Microsoft's method in its attribute.
const SEVERAL: &str = "https://refeds.org/profile/mfa";
const METHODS: (&str, &str) =
    ("http://schemas.microsoft.com/claims/authnmethodsreferences", "http://schemas.microsoft.com/claims/multipleauthn");
/// Attributes by which an e-mail address is known: by its plain names, X.500's `mail`, and that of WS-Federation.
const EMAIL: [&str; 4] = [
    "email",
    "mail",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
];

/// Believes an assertion, or says what speaks against it.
pub(super) fn believe(assertion: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<SamlBelieved, SsoFault> {
    let id = attribute(assertion, "ID").filter(|id| !id.is_empty());
    let (Some(id), Some("2.0")) = (id, attribute(assertion, "Version")) else {
        return refuse("sso.xml", "the assertion is not of SAML 2.0, or has no id");
    };
    if !only(assertion, ns::ASSERTION, "Issuer").is_some_and(|issuer| is_issuer(issuer, expected.entity_id)) {
        return refuse("sso.iss", "the assertion was made by another provider");
    }
    made_now(assertion, expected.now_s)?;
    let Some(subject) = only(assertion, ns::ASSERTION, "Subject") else {
        return refuse("sso.sub", "the assertion does not say who signed in");
    };
    let name = name(subject, expected)?;
    let confirmed_until = confirmation(subject, expected)?;
    let good_until = conditions(assertion, expected)?;
    let (signed_in_s, class_says) = signed_in(assertion, expected)?;
    let attributes = attributes(assertion);
    let sub = format!("{} {name}", expected.name_id.word());
    let email = match (expected.email, expected.name_id) {
        (Some(named), _) => one(&attributes, named),
        (None, NameIdFormat::Email) => Some(name),
        (None, _) => EMAIL.iter().find_map(|named| one(&attributes, named)),
    };
    let methods = attributes.get(METHODS.0).and_then(Value::as_array);
    let several = class_says || methods.is_some_and(|methods| methods.iter().any(|method| method == METHODS.1));
    let until_s = confirmed_until.min(good_until.unwrap_or(i64::MAX)).saturating_add(SKEW_S);
    let believed = Believed::stated(sub, attributes, signed_in_s, several, email);
    Ok(SamlBelieved { believed, assertion: id.to_owned(), until_s })
}

/// Who it is about.
fn name(subject: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<String, SsoFault> {
    let Some(named) = only(subject, ns::ASSERTION, "NameID") else {
        return refuse("sso.sub", "the assertion does not say who signed in");
    };
    let format = attribute(named, "Format").unwrap_or(NameIdFormat::Unspecified.uri());
    if format != expected.name_id.uri() {
        return refuse("sso.sub", "the assertion names the person in another format than the one that is configured");
    }
    let others = |name: &str, own: &str| attribute(named, name).is_some_and(|value| value != own);
    if others("NameQualifier", expected.entity_id) || others("SPNameQualifier", expected.sp) {
        return refuse("sso.sub", "the assertion names the person as others know them");
    }
    let name = text(named).unwrap_or_default();
    if name.is_empty() || name.chars().count() > SUBJECT || name.trim() != name || name.contains(char::is_control) {
        return refuse("sso.sub", "the assertion's name of the person is empty, too long, or no plain text");
    }
    Ok(name)
}

/// Until when whoever bears it may be the person (profiles section 4.1.4.2).
fn confirmation(subject: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<i64, SsoFault> {
    let confirmation = only(subject, ns::ASSERTION, "SubjectConfirmation");
    let bearer = confirmation.filter(|confirmation| attribute(*confirmation, "Method") == Some(BEARER));
    let Some(data) = bearer.and_then(|bearer| only(bearer, ns::ASSERTION, "SubjectConfirmationData")) else {
        return refuse("sso.confirmation", "the assertion is not one, and only one, for its bearer");
    };
    if attribute(data, "Recipient") != Some(expected.acs) {
        return refuse("sso.recipient", "the assertion is for another address");
    }
    if attribute(data, "InResponseTo") != Some(expected.request) {
        return refuse("sso.in-response-to", "the assertion answers another request, or none");
    }
    if attribute(data, "NotBefore").is_some() {
        return refuse("sso.nbf", "the assertion's bearer is to wait, which none is");
    }
    let Some(until) = attribute(data, "NotOnOrAfter").and_then(instant) else {
        return refuse("sso.exp", "the assertion does not say until when its bearer may show it");
    };
    not_over(until, expected)?;
    Ok(until)
}

fn not_over(until: i64, expected: &SamlExpected<'_>) -> Result<(), SsoFault> {
    if until.saturating_add(SKEW_S) <= expected.now_s {
        return refuse("sso.exp", "the assertion is not good any more");
    }
    Ok(())
}

/// Until when it holds, if it says so, where all its conditions are met (core section 2.5).
fn conditions(assertion: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<Option<i64>, SsoFault> {
    let Some(conditions) = only(assertion, ns::ASSERTION, "Conditions") else {
        return refuse("sso.aud", "the assertion does not say for whom it is");
    };
    let time = |name: &str| match attribute(conditions, name).map(instant) {
        Some(None) => refuse("sso.conditions", "a time in the assertion is none"),
        Some(time) => Ok(time),
        None => Ok(None),
    };
    if time("NotBefore")?.is_some_and(|from| from > expected.now_s.saturating_add(SKEW_S)) {
        return refuse("sso.nbf", "the assertion is not good yet");
    }
    let until = time("NotOnOrAfter")?;
    if let Some(until) = until {
        not_over(until, expected)?;
    }
    let mut restrictions = 0;
    for condition in conditions.children().filter(Node::is_element) {
        match (condition.tag_name().namespace(), condition.tag_name().name()) {
            (Some(ns::ASSERTION), "AudienceRestriction") => {
                restrictions += 1;
                // Others that it is for as well are others that could have it from somebody.
                let audience = only(condition, ns::ASSERTION, "Audience").and_then(text);
                if audience.as_deref() != Some(expected.sp) {
                    return refuse("sso.aud", "the assertion is not for this host alone");
                }
            }
            // Each is good once here, and nobody is told of it further.
            (Some(ns::ASSERTION), "OneTimeUse" | "ProxyRestriction") => {}
            _ => return refuse("sso.conditions", "the assertion has a condition that is not known"),
        }
    }
    if restrictions == 0 {
        return refuse("sso.aud", "the assertion does not say for whom it is");
    }
    Ok(until)
}

/// When the person proved who they are, and whether it is said that they did so with several factors.
fn signed_in(assertion: Node<'_, '_>, expected: &SamlExpected<'_>) -> Result<(i64, bool), SsoFault> {
    let Some(statement) = only(assertion, ns::ASSERTION, "AuthnStatement") else {
        return refuse("sso.statement", "the assertion does not say, once, that the person signed in");
    };
    let Some(at) = attribute(statement, "AuthnInstant").and_then(instant) else {
        return refuse("sso.auth-time", "the assertion does not say when the person signed in");
    };
    if at > expected.now_s.saturating_add(SKEW_S) {
        return refuse("sso.auth-time", "the person is said to sign in only later");
    }
    if let Some(until) = attribute(statement, "SessionNotOnOrAfter") {
        let Some(until) = instant(until) else {
            return refuse("sso.conditions", "a time in the assertion is none");
        };
        not_over(until, expected)?;
    }
    if expected.anew_since_s.is_some_and(|since| at < since.saturating_sub(SKEW_S)) {
        return refuse("sso.auth-time", "the person did not sign in anew at the provider");
    }
    let context = only(statement, ns::ASSERTION, "AuthnContext");
    let class = context.and_then(|context| only(context, ns::ASSERTION, "AuthnContextClassRef")).and_then(text);
    Ok((at, class.as_deref() == Some(SEVERAL)))
}

/// The attributes by name, the texts of each; what is no text is passed over.
fn attributes(assertion: Node<'_, '_>) -> Map<String, Value> {
    let mut all = Map::new();
    for statement in children(assertion, ns::ASSERTION, "AttributeStatement") {
        for said in children(statement, ns::ASSERTION, "Attribute") {
            let Some(name) = attribute(said, "Name") else { continue };
            let values = children(said, ns::ASSERTION, "AttributeValue").filter_map(text).map(Value::String);
            if let Value::Array(held) = all.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                held.extend(values);
            }
        }
    }
    all
}

/// The text of an attribute that has one alone.
fn one(attributes: &Map<String, Value>, name: &str) -> Option<String> {
    match attributes.get(name)?.as_array()?.as_slice() {
        [Value::String(text)] => Some(text.clone()),
        _ => None,
    }
}
