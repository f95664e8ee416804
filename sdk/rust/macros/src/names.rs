//! From the contract's names to Rust's.

use proc_macro2::{Ident, Span};

/// `refund-charge`, `refundCharge` or `refund_charge` to its words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut upper_before = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            open = false;
            upper_before = false;
            continue;
        }
        let upper = c.is_ascii_uppercase();
        match words.last_mut() {
            Some(word) if open && (!upper || upper_before) => word.push(c.to_ascii_lowercase()),
            _ => words.push(c.to_ascii_lowercase().to_string()),
        }
        open = true;
        upper_before = upper;
    }
    words
}

/// A name for a type or an enum's case: `refund-charge` to `RefundCharge`. Empty for a name without letters or digits.
pub(crate) fn pascal(name: &str) -> String {
    words(name)
        .iter()
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

/// A name for a method or a field: `refund-charge` to `refund_charge`.
pub(crate) fn snake(name: &str) -> String {
    words(name).join("_")
}

/// An identifier, raw where the name is a word of the language.
///
/// # Errors
/// Names that Rust cannot write.
pub(crate) fn ident(name: &str, original: &str) -> Result<Ident, String> {
    const NEVER_RAW: [&str; 5] = ["self", "Self", "super", "crate", "_"];
    const WORDS: [&str; 46] = [
        "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "false", "fn", "for",
        "gen", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static",
        "struct", "trait", "true", "type", "unsafe", "use", "where", "while", "abstract", "become", "box", "do",
        "final", "macro", "override", "priv", "try", "typeof", "yield",
    ];
    if name.is_empty() {
        return Err(format!("`{original}` has no letter or digit to make a Rust name of"));
    }
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name.to_owned() };
    Ok(if NEVER_RAW.contains(&name.as_str()) {
        Ident::new(&format!("{name}_"), Span::call_site())
    } else if WORDS.contains(&name.as_str()) {
        Ident::new_raw(&name, Span::call_site())
    } else {
        Ident::new(&name, Span::call_site())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_style() {
        for (name, type_name, field) in [
            ("refund-charge", "RefundCharge", "refund_charge"),
            ("refundCharge", "RefundCharge", "refund_charge"),
            ("base_url", "BaseUrl", "base_url"),
            ("ID", "Id", "id"),
            ("orderID", "OrderId", "order_id"),
            ("x-2-y", "X2Y", "x_2_y"),
            ("--", "", ""),
        ] {
            assert_eq!(pascal(name), type_name, "{name}");
            assert_eq!(snake(name), field, "{name}");
        }
    }

    #[test]
    fn words_of_the_language_are_made_writable() {
        let shown = |name: &str| ident(name, name).map(|ident| ident.to_string());
        assert_eq!(shown("type"), Ok("r#type".into()));
        assert_eq!(shown("self"), Ok("self_".into()));
        assert_eq!(shown("2nd"), Ok("_2nd".into()));
        assert!(shown("").is_err());
    }
}
