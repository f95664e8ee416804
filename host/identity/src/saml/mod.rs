//! Signing in at a tenant's own provider by SAML 2.0: the web browser profile, begun here, with a request by redirect and a response by
//! form (profiles section 4.1; bindings sections 3.4 and 3.5).
//!
//! The protocol alone, as in [`oidc`](crate::oidc): what is asked, and whether what comes back may be believed.
//!
//! XML signatures are where others fail, so little of them is understood: one reference to the element that holds the signature, by
//! exclusive canonicalisation without comments, by a key an owner configured. Each document is read by one parser into one tree.
//! What is believed is not that tree but the very bytes that were hashed, read anew: whatever stands beside what is signed, or is
//! dropped before it is hashed, is not there to be read.
//!
//! Our own, over a parser alone: the libraries there are do all of XML signatures, encryption and stylesheets among it, bring
//! generations of cryptographic crates that are not here, and give back "valid" where a reader needs to know of what.
//!
//! Fails closed: document types, comments, instructions, encrypted parts, a second assertion, a signature in another place, SHA-1,
//! algorithms and conditions that are not known, and answers to no question of ours are refused, by a rule that the audit log names.

mod assertion;
mod c14n;
mod certificate;
mod metadata;
mod request;
mod response;
mod signature;
#[cfg(test)]
mod tests;
mod xml;

pub use certificate::Certificate;
pub use metadata::IdpMetadata;
pub use request::{NameIdFormat, SamlAsking, sp_metadata};
pub use response::{SamlBelieved, SamlExpected, believe_response};

/// The namespaces that are read.
mod ns {
    pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
    pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
    pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
    pub(super) const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
    pub(super) const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
}
