//! Which rule a request falls under.
//!
//! Of the rules that cover method, URL and query names, the one with the most literal path segments, then the first of the
//! contract. When none does, the refusal names what came nearest and the line that would allow it.

use url::{Url, form_urlencoded};

use crate::authorized::{DeniedRule, GrantedRule};
use crate::denial::Denial;
use crate::template::Origin;
use crate::visible::visible;

/// Characters of a refused path shown, at most.
const MAX_PATH: usize = 200;

/// Chooses the rule for a request. `url` comes from [`request_url`](crate::request_url). `denied` are the rules of the
/// contract that this invocation may not use; they only make the refusal helpful.
///
/// # Errors
/// `http.no-rule`, `http.method`, `http.query`, or the code of the rule that would have covered the request but may not be
/// used.
pub fn choose<'a>(
    rules: &'a [GrantedRule],
    denied: &[DeniedRule],
    method: &str,
    url: &Url,
) -> Result<&'a GrantedRule, Denial> {
    let by_url: Vec<&GrantedRule> = rules.iter().filter(|rule| rule.url.matches(url)).collect();
    let by_method: Vec<&GrantedRule> =
        by_url.iter().copied().filter(|rule| rule.methods.iter().any(|m| m == method)).collect();
    let covering = by_method.iter().copied().filter(|rule| unlisted_query(&rule.query, url).is_none());
    // max_by_key takes the last of equals; the first of the contract is wanted.
    if let Some(rule) = covering.rev().max_by_key(|rule| rule.url.literal_segments()) {
        return Ok(rule);
    }
    let asked = format!("{} {}", visible(method, 16).text, shown(url));
    for other in denied {
        let covers = other.url.as_ref().is_some_and(|pattern| pattern.matches(url))
            && other.rule.methods.iter().any(|m| m == method)
            && unlisted_query(&other.rule.query, url).is_none();
        if covers {
            let message = format!("no rule allows {asked}: {}", other.denial.message);
            return Err(Denial::new(other.denial.code, message, other.denial.fix.clone()));
        }
    }
    if let Some(rule) = by_method.first() {
        let Some(name) = unlisted_query(&rule.query, url) else {
            return Err(no_rule(rules, denied, &asked, method, url));
        };
        return Err(Denial::new(
            "http.query",
            format!("the rule `{}` does not allow {name} in the query of {asked}", rule.name),
            format!(
                "add the name to query of the rule `{}` in contract.toml, by the publisher, in a new version",
                rule.name
            ),
        ));
    }
    if let Some(rule) = by_url.first() {
        return Err(Denial::new(
            "http.method",
            format!("the rule `{}` covers this URL for {} only, not {asked}", rule.name, rule.methods.join(" and ")),
            format!(
                "add \"{}\" to methods of the rule `{}` in contract.toml, by the publisher, in a new version",
                visible(method, 16).text,
                rule.name
            ),
        ));
    }
    Err(no_rule(rules, denied, &asked, method, url))
}

/// The first query name that is not listed. A raw `;` counts as one, because some servers split the query there.
fn unlisted_query(listed: &[String], url: &Url) -> Option<String> {
    let query = url.query()?;
    if query.contains(';') {
        return Some("an unencoded `;`".to_owned());
    }
    form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name)
        .find(|name| !listed.iter().any(|l| l == name))
        .map(|name| format!("`{}`", visible(&name, 64).text))
}

/// A URL as a refusal shows it: without the query, which may hold anything.
fn shown(url: &Url) -> String {
    let origin = Origin::of(url).map_or_else(|| format!("{}:", url.scheme()), |origin| origin.to_string());
    let path = visible(url.path(), MAX_PATH);
    let more = if path.cut > 0 { "…" } else { "" };
    format!("{origin}{}{more}", path.text)
}

fn no_rule(rules: &[GrantedRule], denied: &[DeniedRule], asked: &str, method: &str, url: &Url) -> Denial {
    const SHOWN: usize = 3;
    let near = |pattern: Option<&crate::template::ResolvedUrl>| {
        pattern.filter(|pattern| pattern.same_origin(url)).map_or(0, |pattern| 1 + pattern.shared_segments(url))
    };
    let mine = rules.iter().map(|rule| (near(Some(&rule.url)), rule.name.as_str(), &rule.methods));
    let others = denied.iter().map(|other| (near(other.url.as_ref()), other.rule.name.as_str(), &other.rule.methods));
    let mut nearest: Vec<_> = mine.chain(others).collect();
    nearest.sort_by_key(|(near, ..)| std::cmp::Reverse(*near));
    let names: Vec<String> =
        nearest.iter().take(SHOWN).map(|(_, name, methods)| format!("`{name}` ({})", methods.join(" "))).collect();
    let came = if names.is_empty() {
        "this action has no rule".to_owned()
    } else {
        format!("the rules that come nearest are {}", names.join(", "))
    };
    Denial::new(
        "http.no-rule",
        format!("no rule allows {asked}; {came}"),
        format!(
            "add to contract.toml: [[http]] name = \"...\" methods = [\"{}\"] url = \"{}\", and its name to http of the \
             action; by the publisher, in a new version, which an owner or admin of the tenant accepts",
            visible(method, 16).text,
            shown(url)
        ),
    )
}
