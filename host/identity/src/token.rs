//! Bearer tokens: 256 random bits that name their tenant, so that a keyed hash of that tenant finds them. Nothing stores
//! one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_contract::TenantId;
use opsiq_vault::fresh;
use zeroize::Zeroizing;

/// Random bytes of a token.
const BYTES: usize = 32;

/// What a token is for. One of a kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Stands for a person who signed in.
    Session,
    /// Lets a person take up an account.
    Invitation,
    /// Says that a person signed in from here before.
    Device,
}

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "ses",
            Self::Invitation => "inv",
            Self::Device => "dev",
        }
    }

    /// Separates the keyed hashes of kinds.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Session => "session token",
            Self::Invitation => "invitation token",
            Self::Device => "device token",
        }
    }
}

/// A token. Wiped on drop, printed as `[sealed]`.
pub struct Token {
    kind: TokenKind,
    tenant: TenantId,
    random: Zeroizing<[u8; BYTES]>,
}

impl Token {
    /// A new one.
    pub fn generate(kind: TokenKind, tenant: &TenantId) -> Self {
        let mut random = Zeroizing::new([0; BYTES]);
        fresh(random.as_mut_slice());
        Self { kind, tenant: tenant.clone(), random }
    }

    /// Reads one of that kind: `ses.TENANT.` and 43 characters of base64url.
    pub fn parse(kind: TokenKind, text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (prefix, tenant, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        if prefix != kind.prefix() || parts.next().is_some() || encoded.len() != 43 {
            return None;
        }
        // One more than there can be: the decoder wants room for whole groups.
        let mut decoded = Zeroizing::new([0; BYTES + 1]);
        let read = URL_SAFE_NO_PAD.decode_slice(encoded, decoded.as_mut_slice()).ok()?;
        let mut random = Zeroizing::new([0; BYTES]);
        random.copy_from_slice(decoded.get(..BYTES).filter(|_| read == BYTES)?);
        Some(Self { kind, tenant: tenant.parse().ok()?, random })
    }

    /// As it is handed out.
    pub fn text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.random.as_slice()));
        Zeroizing::new(format!("{}.{}.{}", self.kind.prefix(), self.tenant, encoded.as_str()))
    }

    /// What it is for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Whose tenant it says it is of; who has the tenant's keys knows whether that is so.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What a keyed hash is made of.
    pub fn bytes(&self) -> &[u8] {
        self.random.as_slice()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_what_it_is_and_nothing_else_is() {
        let tenant: TenantId = "acme-2".parse().unwrap();
        let token = Token::generate(TokenKind::Session, &tenant);
        let text = token.text();
        let read = Token::parse(TokenKind::Session, &text).unwrap();
        assert_eq!((read.tenant(), read.bytes()), (&tenant, token.bytes()));
        assert!(Token::parse(TokenKind::Invitation, &text).is_none());
        let (head, tail) = text.split_at(text.len() - 1);
        for other in [
            "",
            "ses",
            "ses..",
            &text[1..],
            head,
            &format!("{}.", text.as_str()),
            &format!("{}A", text.as_str()),
            &format!("{head}="),
            &text.replace("acme-2", "Acme"),
            &text.replace("ses.", "ses.x."),
        ] {
            assert!(Token::parse(TokenKind::Session, other).is_none(), "{other}");
        }
        // The last character carries four of its six bits: one that differs in the others is another spelling.
        let spelled: Vec<_> = ('a'..='z')
            .chain('A'..='Z')
            .chain('0'..='9')
            .filter(|last| {
                Token::parse(TokenKind::Session, &format!("{head}{last}")).is_some_and(|t| t.bytes() == token.bytes())
            })
            .collect();
        assert!(spelled.len() <= 1 && spelled.iter().all(|last| tail == last.to_string()), "{spelled:?}");
        assert_eq!(format!("{token:?}"), "[sealed]");
    }
}
