//! From one page to the next.
//!
//! GitHub names the next page by an absolute URL in a `Link` header (RFC 8288). It is never followed: only the page and
//! the cursor in its query are taken, checked, and put into a URL that the contract's rule covers. A caller gets them as
//! an opaque text, and a link that leads nowhere further is a failure, because a list that looks complete and is not
//! misleads whoever decides by it.

use core::fmt;

use opsiq_sdk::prelude::*;

/// Characters a cursor of GitHub has (Base64, either alphabet).
const CURSOR: &[u8] = b"+/=_-";

/// Which page: its number, the cursor to begin after, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) page: Option<u64>,
    pub(crate) after: Option<String>,
}

impl Place {
    /// Reads what [`Place`] shows as.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (page, after) = text.split_once('.').map_or((text, None), |(page, after)| (page, Some(after)));
        let page = if page.is_empty() { None } else { Some(page.parse().map_err(|_| not_ours())?) };
        if page.is_none() && after.is_none() {
            return Err(not_ours());
        }
        Ok(Self { page, after: after.map(str::to_owned) })
    }

    /// Where the page after this one begins, by the headers of its answer; `None` on the last.
    pub(crate) fn next(&self, headers: &[(String, String)]) -> Result<Option<Self>> {
        let mut links = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("link"));
        let Some(target) = links.find_map(|(_, value)| next_target(value)) else { return Ok(None) };
        let next = Self::of(target);
        let further = match (next.page, &next.after) {
            (Some(page), _) => page > self.page.unwrap_or(1),
            (None, Some(after)) => self.after.as_ref() != Some(after),
            (None, None) => false,
        };
        if further {
            Ok(Some(next))
        } else {
            Err(Failure::upstream(Some(200), true, "GitHub's link to the next page leads to no further page"))
        }
    }

    /// The page and the cursor in a URL's query; whatever else it says is of no interest.
    fn of(url: &str) -> Self {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let mut place = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "page" => place.page = value.parse().ok().filter(|page| *page < 10_000_000),
                "after" => {
                    let after = decoded(value);
                    let fits = |text: &String| {
                        let plain = |b: u8| b.is_ascii_alphanumeric() || CURSOR.contains(&b);
                        (1..=500).contains(&text.len()) && text.bytes().all(plain)
                    };
                    place.after = after.filter(fits);
                }
                _ => {}
            }
        }
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(page) = self.page {
            write!(f, "{page}")?;
        }
        self.after.as_ref().map_or(Ok(()), |after| write!(f, ".{after}"))
    }
}

fn not_ours() -> Failure {
    Failure::invalid("the cursor is not one that list-issues gave")
}

/// The target of the link whose relation is `next`.
fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let (params, others) = after.split_once(',').map_or((after, ""), |(params, others)| (params, others));
        let is_next = params.split(';').filter_map(|param| param.split_once('=')).any(|(name, value)| {
            let relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.into_iter().any(|one| one.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = others;
    }
    None
}

/// Percent-encoding undone (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = core::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(at: &str, link: &str) -> Result<Option<String>> {
        let place = if at.is_empty() { Place::default() } else { Place::parse(at)? };
        let headers = [("Link".to_owned(), link.to_owned())];
        Ok(place.next(&headers)?.map(|place| place.to_string()))
    }

    #[test]
    fn only_page_and_cursor_of_the_next_link_are_taken() {
        const API: &str = "https://api.github.com/repositories/1/issues";
        for (at, link, expected) in [
            ("", format!("<{API}?per_page=3&page=2>; rel=\"next\", <{API}?page=5>; rel=\"last\""), Some("2")),
            ("2", format!("<{API}?page=1>; rel=\"prev\", <{API}?page=3>; rel=\"next\""), Some("3")),
            ("5", format!("<{API}?page=4>; rel=\"prev\", <{API}?page=1>; rel=\"first\""), None),
            (
                "",
                format!("<{API}?per_page=9&after=Y3Vyc29yOnYyOg%3D%3D&page=2>; rel=\"next\""),
                Some("2.Y3Vyc29yOnYyOg=="),
            ),
            ("2.abc", format!("<{API}?after=abd>; rel=next"), Some(".abd")),
            ("", "<http://169.254.169.254/?page=2>; rel=\"next\"".to_owned(), Some("2")),
            ("", "</x?page=2#page=9>; title=\"a\"; rel=\"next last\"".to_owned(), Some("2")),
            ("", String::new(), None),
            ("", "<".to_owned(), None),
            ("", "<a>; rel=\"prev\", <b".to_owned(), None),
        ] {
            assert_eq!(next(at, &link).unwrap().as_deref(), expected, "{at:?} {link}");
        }
    }

    #[test]
    fn a_link_that_leads_no_further_is_a_failure() {
        for (at, link) in [
            ("", "<https://a.example/>; rel=\"next\""),
            ("", "<https://a.example/?page=1>; rel=\"next\""),
            ("7", "<https://a.example/?page=7>; rel=\"next\""),
            ("", "<https://a.example/?page=-2>; rel=\"next\""),
            ("", "<https://a.example/?page=2e9>; rel=\"next\""),
            ("", "<https://a.example/?page=99999999999999999999>; rel=\"next\""),
            ("", "<https://a.example/?after=%zz>; rel=\"next\""),
            ("", "<https://a.example/?after=a%26state%3Dall>; rel=\"next\""),
            (".abc", "<https://a.example/?after=abc>; rel=\"next\""),
        ] {
            assert!(matches!(next(at, link), Err(Failure::Upstream(f)) if f.status == Some(200)), "{at:?} {link}");
        }
    }

    #[test]
    fn a_cursor_is_read_back_as_it_was_given() {
        for text in ["1", "9999999", "2.abc=", ".abc"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "x", "99999999999999999999999", "-1"] {
            assert!(matches!(Place::parse(wrong), Err(Failure::Invalid(_))), "{wrong:?}");
        }
    }
}
