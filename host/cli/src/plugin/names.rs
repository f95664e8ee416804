//! From the contract's names to those of a language.

/// `refund-charge`, `refundCharge` or `refund_charge` to its words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut open, mut upper_before) = (false, false);
    for c in name.chars() {
        let upper = c.is_ascii_uppercase();
        if c.is_ascii_alphanumeric() {
            match words.last_mut() {
                Some(word) if open && (!upper || upper_before) => word.push(c.to_ascii_lowercase()),
                _ => words.push(c.to_ascii_lowercase().to_string()),
            }
        }
        open = c.is_ascii_alphanumeric();
        upper_before = upper;
    }
    words
}

/// A name for a type: `refund-charge` to `RefundCharge`.
pub(super) fn pascal(name: &str) -> String {
    words(name).iter().map(|word| capital(word)).collect()
}

/// A name for a method in JavaScript: `refund-charge` to `refundCharge`. Only separators count: what is written
/// together stays as it is, since the SDK finds the method by the same rule.
pub(super) fn camel(name: &str) -> String {
    let mut parts = name.split(['-', '_']).filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &capital(part))
}

/// A name for a method in Python: `refund-charge` to `refund_charge`.
pub(super) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a name can be written without quotes.
pub(super) fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_style() {
        for (name, type_name, method, function) in [
            ("refund-charge", "RefundCharge", "refundCharge", "refund_charge"),
            ("base_url", "BaseUrl", "baseUrl", "base_url"),
            ("list-2-pages", "List2Pages", "list2Pages", "list_2_pages"),
            ("hello", "Hello", "hello", "hello"),
        ] {
            assert_eq!(
                (pascal(name).as_str(), camel(name).as_str(), snake(name).as_str()),
                (type_name, method, function)
            );
        }
        assert_eq!(pascal("orderID"), "OrderId");
    }

    #[test]
    fn what_needs_quotes() {
        assert!(is_identifier("base_url") && is_identifier("a2"));
        assert!(!is_identifier("pull-request") && !is_identifier("2a") && !is_identifier(""));
    }
}
