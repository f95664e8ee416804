//! XML signatures, as far as SAML needs them (XML-DSig 1.1; SAML core section 5.4): the element that holds the signature, and nothing else.

use aws_lc_rs::digest::{Algorithm as Hash, SHA256, SHA384, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use subtle::ConstantTimeEq as _;

use super::c14n::{canonical, kept_prefixes};
use super::certificate::Certificate;
use super::ns;
use super::xml::{Kind, attribute, children, is, only, parse, text};
use crate::public_key::Algorithm;
use crate::sso_fault::{SsoFault, refuse};

const FORM: &str = "sso.signature-form";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// The bytes of `element` that one of these keys signed, by the signature that stands right inside it.
///
/// # Errors
/// `sso.signature-form` for a signature of any form but the one; `sso.alg` for SHA-1 and all that is not known; `sso.signature` for one that is not
/// by one of these keys, or of something else.
pub(super) fn signed_bytes(
    element: Node<'_, '_>,
    signature: Node<'_, '_>,
    keys: &[Certificate],
) -> Result<String, SsoFault> {
    let mut parts = signature.children().filter(Node::is_element);
    let (info, value, key, none) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(info), Some(value), None) = (info, value, none) else {
        return refuse(FORM, "the signature has not the parts it should have");
    };
    // What it says of its key is passed over: whoever signs can say it.
    let named = is(info, ns::SIGNATURE, "SignedInfo") && is(value, ns::SIGNATURE, "SignatureValue");
    if !named || !key.is_none_or(|key| is(key, ns::SIGNATURE, "KeyInfo")) {
        return refuse(FORM, "the signature has not the parts it should have");
    }
    let Some(value) = text(value).and_then(|value| decoded(&value)) else {
        return refuse(FORM, "the signature's value is not base64");
    };
    let Some(method) = only(info, ns::SIGNATURE, "CanonicalizationMethod").filter(|method| is_exclusive(*method))
    else {
        return refuse(FORM, "what is signed is not made canonical in the exclusive way, without comments");
    };
    let Some(kept) = kept_prefixes(method) else {
        return refuse(FORM, "what is signed is not made canonical in the exclusive way, without comments");
    };
    // From here on only what was hashed is read.
    let bytes = canonical(info, None, &kept)?;
    let document = parse(&bytes, Kind::Response)?;
    let info = document.root_element();
    let algorithm = only(info, ns::SIGNATURE, "SignatureMethod").and_then(|method| attribute(method, "Algorithm"));
    let Some(algorithm) = algorithm.and_then(named_algorithm) else {
        return refuse("sso.alg", "the signature is not RSA or ECDSA over SHA-256, SHA-384 or SHA-512");
    };
    if !keys.iter().any(|certificate| {
        certificate.key.is_for(algorithm) && certificate.key.verifies(algorithm, bytes.as_bytes(), &value)
    }) {
        return refuse("sso.signature", "the signature is not by a certificate that is configured for the provider");
    }
    let Some(reference) = only(info, ns::SIGNATURE, "Reference") else {
        return refuse(FORM, "the signature is of several things, or of none");
    };
    let id = attribute(element, "ID").filter(|id| !id.is_empty());
    if id.is_none() || attribute(reference, "URI").and_then(|uri| uri.strip_prefix('#')) != id {
        return refuse("sso.wrapped", "the signature is of something else than the element that holds it");
    }
    let kept = transforms(reference)?;
    let method = only(reference, ns::SIGNATURE, "DigestMethod").and_then(|method| attribute(method, "Algorithm"));
    let Some(hash) = method.and_then(named_hash) else {
        return refuse("sso.alg", "what is signed is not hashed with SHA-256, SHA-384 or SHA-512");
    };
    let stated = only(reference, ns::SIGNATURE, "DigestValue").and_then(text).and_then(|value| decoded(&value));
    let bytes = canonical(element, Some(signature.id()), &kept)?;
    let found = digest(hash, bytes.as_bytes());
    if !stated.is_some_and(|stated| bool::from(stated.as_slice().ct_eq(found.as_ref()))) {
        return refuse("sso.signature", "what is signed was changed afterwards");
    }
    Ok(bytes)
}

/// The prefixes to keep, where the transforms are the two there may be, in their order (SAML core section 5.4.4).
fn transforms(reference: Node<'_, '_>) -> Result<Vec<String>, SsoFault> {
    let list = only(reference, ns::SIGNATURE, "Transforms");
    let mut all = list.iter().flat_map(|list| children(*list, ns::SIGNATURE, "Transform"));
    let (first, second, none) = (all.next(), all.next(), all.next());
    let enveloped = first.filter(|first| attribute(*first, "Algorithm") == Some(ENVELOPED));
    let exclusive = second.filter(|second| is_exclusive(*second));
    match (enveloped, exclusive.and_then(kept_prefixes), none) {
        (Some(_), Some(kept), None) => Ok(kept),
        _ => refuse(FORM, "what is signed is transformed in another way than SAML has it"),
    }
}

fn is_exclusive(method: Node<'_, '_>) -> bool {
    attribute(method, "Algorithm") == Some(ns::EXCLUSIVE)
}

/// By its name (XML-DSig 1.1 section 6.4, RFC 9231 section 2.3); `None` for all that is not believed.
fn named_algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256" => Algorithm::Rs256,
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384" => Algorithm::Rs384,
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512" => Algorithm::Rs512,
        "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1" => Algorithm::Ps256,
        "http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1" => Algorithm::Ps384,
        "http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1" => Algorithm::Ps512,
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256" => Algorithm::Es256,
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384" => Algorithm::Es384,
        _ => return None,
    })
}

fn named_hash(name: &str) -> Option<&'static Hash> {
    Some(match name {
        "http://www.w3.org/2001/04/xmlenc#sha256" => &SHA256,
        "http://www.w3.org/2001/04/xmldsig-more#sha384" => &SHA384,
        "http://www.w3.org/2001/04/xmlenc#sha512" => &SHA512,
        _ => return None,
    })
}

/// Base64, in lines or in one.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()
}
