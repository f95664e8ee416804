//! Why a message is not taken as signed.

/// Every reason but the last is about what anybody can read in the message; the last is the only one that depends on a
/// secret, and stands for an unknown tenant, client or version as well. All are HTTP 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no signature.
    #[error("the message is not signed")]
    Missing,
    /// A field is not in the one accepted form; says what would be.
    #[error("{0}")]
    Form(&'static str),
    /// The body is not the one that was signed.
    #[error("content-digest is not the digest of the body")]
    Digest,
    /// It was made too long ago, too far in the future, or has expired.
    #[error("the signature was made outside the accepted window of 300 s, or has expired")]
    Time,
    /// The signature is not one that the named key makes, or there is no such key.
    #[error("the signature does not verify")]
    Mac,
}

impl Refused {
    /// A stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature.missing",
            Self::Form(_) => "signature.malformed",
            Self::Digest => "signature.digest",
            Self::Time => "signature.time",
            Self::Mac => "signature.invalid",
        }
    }

    /// What whoever signs can do.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Missing => "sign the request: opsiq signature sign, or an RFC 9421 library; see examples/signing",
            Self::Form(_) => "sign as examples/signing does",
            Self::Digest => "send exactly the bytes that were signed, through nothing that rewrites them",
            Self::Time => "set the clock, and sign each request when it is sent",
            Self::Mac => "sign with the client's current secret, its key id, and the address the host is reached by",
        }
    }
}
