//! Names people choose, in one spelling each.

use crate::refusal::{Class, Refusal, Stage};

/// Most scopes of one API client.
const SCOPES_MOST: usize = 100;

/// Checks a user's name: `[a-z0-9][a-z0-9._@+-]{0,63}`, so a mail address fits and no two look alike.
pub(crate) fn user(name: &str) -> Result<(), Refusal> {
    let bytes = name.as_bytes();
    let fits = (1..=64).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(b));
    if fits {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "name.invalid",
        "a user's name is 1 to 64 of a-z, 0-9 and . _ @ + -, beginning with a letter or digit",
        "choose such a name",
    ))
}

/// Checks an installation's name.
pub(crate) fn installation(name: &str) -> Result<(), Refusal> {
    slug("an installation", name)
}

/// Checks an API client's name, which is part of a key's id.
pub(crate) fn client(name: &str) -> Result<(), Refusal> {
    slug("a client", name)
}

/// Checks a provider's name, which is part of where people sign in.
pub(crate) fn provider(name: &str) -> Result<(), Refusal> {
    slug("a provider", name)
}

/// Refuses a name of `whose` that is no slug.
fn slug(whose: &str, name: &str) -> Result<(), Refusal> {
    if opsiq_contract::is_slug(name) {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "name.invalid",
        format!("{whose}'s name is 1 to 63 of a-z, 0-9 and -, not beginning with -"),
        "choose such a name",
    ))
}

/// Checks scopes: each is `resource:action`, both slugs.
pub(crate) fn scopes<'a>(scopes: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
    let (mut count, mut fit) = (0, true);
    for scope in scopes {
        count += 1;
        fit &= opsiq_contract::is_scope(scope);
    }
    if fit && count <= SCOPES_MOST {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "scope.invalid",
        format!("scopes are at most {SCOPES_MOST} of resource:action, such as refunds:create"),
        "name scopes as the contracts of the installed plugins do: opsiq action list",
    ))
}

/// Checks a title: 1 to 120 characters that show as they are, so that a title cannot disguise itself in a review.
pub(crate) fn title(text: &str) -> Result<(), Refusal> {
    let shown = opsiq_contract::visible(text, 120);
    if !text.trim().is_empty() && shown.cut == 0 && shown.text == text {
        return Ok(());
    }
    Err(Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "title.invalid",
        "a title is 1 to 120 characters, without invisible ones and backslashes",
        "choose such a title",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_user() {
        for good in ["a", "alice", "alice@example.com", "0-a_b.c+d"] {
            assert!(user(good).is_ok(), "{good}");
        }
        for bad in ["", "Alice", ".a", "a b", "a/b", "\u{430}lice", &"a".repeat(65)] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_are_resource_and_action() {
        let all = |scopes: &[&str]| super::scopes(&scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert!(all(&["orders:read", "refunds:create"]).is_ok() && all(&[]).is_ok());
        for bad in ["orders", "orders:", ":read", "Orders:read", "a:b:c", "*:*", "orders:*", ""] {
            assert!(all(&[bad]).is_err(), "{bad}");
        }
        assert!(all(&vec!["a:b"; SCOPES_MOST + 1]).is_err());
    }

    #[test]
    fn titles_cannot_disguise_themselves() {
        assert!(title("Acme GmbH").is_ok());
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", &"x".repeat(121)] {
            assert!(title(bad).is_err(), "{bad:?}");
        }
    }
}
