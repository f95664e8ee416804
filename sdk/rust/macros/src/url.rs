//! `url!`: a URL written as one text, its variable parts encoded.
//!
//! A placeholder at the very start is a base URL and taken as it is; every other one becomes exactly one path segment
//! or part of one, whatever it contains.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

/// Expands to an expression of type `opsiq_sdk::Url`.
///
/// # Errors
/// An input that is not one text literal, or a placeholder that is no Rust expression.
pub(crate) fn expand(input: &TokenStream) -> Result<TokenStream, String> {
    const USAGE: &str = "url! takes one text, such as url!(\"{config.base_url}/orders/{id}\")";
    let mut tokens = input.clone().into_iter();
    let (Some(TokenTree::Literal(literal)), None) = (tokens.next(), tokens.next()) else {
        return Err(USAGE.into());
    };
    let source = literal.to_string();
    let text = source.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(USAGE)?;
    if text.contains('\\') {
        return Err("a URL has no escapes".into());
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        let (inside, after) = after[1..].split_once('}').ok_or("a `{` without its `}`")?;
        if !before.is_empty() {
            steps.push(quote!(.text(#before)));
        }
        let at_start = before.is_empty() && steps.is_empty();
        let expression = placeholder(inside, &literal)?;
        steps.push(if at_start { quote!(.base(&#expression)) } else { quote!(.segment(&#expression)) });
        rest = after;
    }
    if !rest.is_empty() {
        steps.push(quote!(.text(#rest)));
    }
    Ok(quote!(::opsiq_sdk::Url::new() #(#steps)*))
}

/// The Rust expression in a placeholder, with the place of the literal, so that mistakes are shown there.
fn placeholder(text: &str, literal: &proc_macro2::Literal) -> Result<TokenStream, String> {
    let wrong = || format!("`{{{text}}}` is no variable or field");
    let tokens: TokenStream = text.parse().map_err(|_| wrong())?;
    if tokens.is_empty() {
        return Err(wrong());
    }
    let place = literal.span();
    Ok(tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(place);
            token
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let input: TokenStream = text.parse().map_err(|_| "no tokens".to_owned())?;
        expand(&input).map(|tokens| tokens.to_string().replace(' ', ""))
    }

    #[test]
    fn only_the_first_placeholder_at_the_start_is_a_base() {
        assert_eq!(
            shown(r#""{config.base_url}/orders/{params.id}/refunds""#).as_deref(),
            Ok(
                r#"::opsiq_sdk::Url::new().base(&config.base_url).text("/orders/").segment(&params.id).text("/refunds")"#
            )
        );
        assert_eq!(
            shown(r#""https://api.example.com/{id}""#).as_deref(),
            Ok(r#"::opsiq_sdk::Url::new().text("https://api.example.com/").segment(&id)"#)
        );
        assert_eq!(shown(r#""{a}{b}""#).as_deref(), Ok("::opsiq_sdk::Url::new().base(&a).segment(&b)"));
    }

    #[test]
    fn what_is_no_url_text_is_refused() {
        for wrong in ["", "1", "\"a\", b", "\"{\"", "\"{}\"", "\"\\n\""] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
