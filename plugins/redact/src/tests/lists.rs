//! Lists that others made: every account of the IBAN registry's examples, the card numbers and the addresses that other
//! checkers are tested with, a phone number of every country. They are fetched by `.ci/fixtures`, pinned by digest.

use std::path::{Path, PathBuf};

use super::{Value, found};

/// A file of a package that was fetched.
#[allow(clippy::print_stderr, reason = "a test that did not run says so")]
fn read(file: &str) -> Option<String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(|root| root.join("target")).unwrap_or_default(),
        PathBuf::from,
    );
    let path = target.join("fixtures").join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", path.display());
        eprintln!("NOT RUN: {} is missing; .ci/fixtures fetches it, with npm", path.display());
    }
    text
}

/// The texts between double quotes that stand on lines of their own after `from` and before `to`.
fn quoted<'a>(source: &'a str, from: &str, to: &str) -> Vec<String> {
    let part: &'a str = source.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap().0;
    let lines = part.lines().map(|line| line.trim().trim_end_matches(','));
    lines.filter(|line| line.starts_with('"')).map(|line| opsiq_sdk::serde_json::from_str(line).unwrap()).collect()
}

fn kinds_in(text: &str, kind: &str) -> Vec<String> {
    found(text).into_iter().filter(|(found, _)| found == kind).map(|(_, text)| text).collect()
}

#[test]
fn examples_of_every_iban_are_found_and_their_neighbours_are_not() {
    /// Examples of a length that their country gave up.
    const GIVEN_UP: [&str; 3] = ["BF", "BI", "DZ"];
    let Some(source) = read("iban/iban.js") else { return };
    let mut seen = 0;
    for line in source.lines().filter(|line| line.contains("new Specification(\"")) {
        let example = line.rsplit('"').nth(1).unwrap();
        if GIVEN_UP.contains(&&example[..2]) {
            assert!(kinds_in(example, "iban").is_empty(), "{example}");
            continue;
        }
        seen += 1;
        let grouped: String = example
            .chars()
            .enumerate()
            .flat_map(|(at, c)| (at > 0 && at % 4 == 0).then_some(' ').into_iter().chain([c]))
            .collect();
        for spelling in [example.to_owned(), example.to_lowercase(), grouped.clone(), grouped.replace(' ', "-")] {
            assert_eq!(kinds_in(&format!("({spelling})."), "iban"), [spelling]);
        }
        let check: u32 = example[2..4].parse().unwrap();
        for other in [check + 1, check + 50, check + 96] {
            let wrong = format!("{}{:02}{}", &example[..2], other % 100, &example[4..]);
            assert!(kinds_in(&wrong, "iban").is_empty(), "{wrong}");
        }
        for wrong in [example[..example.len() - 1].to_owned(), format!("{example}0"), format!("A{example}")] {
            assert!(kinds_in(&wrong, "iban").is_empty(), "{wrong}");
        }
    }
    assert!(seen > 75, "{seen} examples");
}

#[test]
fn cards_that_a_checker_takes_are_found_and_those_it_refuses_are_not() {
    let Some(source) = read("card-validator/src/__tests__/card-number.ts") else { return };
    let whole: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut valid, mut invalid) = (0, 0);
    for row in whole
        .split("[ ")
        .flat_map(|row| row.split("[\"").skip(1).map(|rest| format!("\"{rest}")).chain([row.to_owned()]))
    {
        let Some(number) = row.strip_prefix('"').and_then(|row| row.split_once('"')).map(|(number, _)| number) else {
            continue;
        };
        let Some(is_valid) = row.split("isValid: ").nth(1).map(|rest| rest.starts_with("true")) else { continue };
        // UnionPay gave out numbers without a check digit, and nobody writes a card digit by digit.
        if number == "6221558812340000" || number.starts_with("601 1 1") {
            continue;
        }
        let cards = kinds_in(number, "card");
        if is_valid {
            valid += 1;
            assert_eq!(cards, [number]);
        } else {
            invalid += 1;
            assert!(cards.is_empty(), "{number}");
        }
    }
    assert!(valid > 15 && invalid > 15, "{valid} and {invalid}");
}

#[test]
fn addresses_that_a_checker_takes_are_found_and_those_it_refuses_are_not() {
    let Some(source) = read("email-validator/test.js") else { return };
    let mut valid = quoted(&source, "validSupported =", "];");
    valid.extend(quoted(&source, "validUnsupported =", "];"));
    let invalid = quoted(&source, "invalidSupported =", "];");
    assert!(valid.len() > 20 && invalid.len() > 20);
    for address in valid {
        let emails = kinds_in(&address, "email");
        match address.as_str() {
            // Of marks alone, as nobody has it; and one whose host is an IP address, which is found.
            "&'*+-./=?^_{}~@other-valid-characters-in-local.net" => assert!(emails.is_empty()),
            "bracketed-IP-instead-of-domain@[127.0.0.1]" => assert_eq!(kinds_in(&address, "ipv4"), ["127.0.0.1"]),
            // Marks that are more often around an address than in it end it.
            "mixed-1234-in-{+^}-local@sld.net" => assert_eq!(emails, ["local@sld.net"]),
            "backticks`are`legit@test.com" => assert_eq!(emails, ["legit@test.com"]),
            _ => assert_eq!(emails, [address]),
        }
    }
    for address in invalid {
        let emails = kinds_in(&address, "email");
        match address.as_str() {
            // A full stop ends a sentence.
            "trailing-dots@test.de." => assert_eq!(emails, ["trailing-dots@test.de"]),
            _ => assert!(emails.is_empty(), "{address}"),
        }
    }
}

#[test]
fn a_phone_number_of_every_country_is_found() {
    let (Some(examples), Some(metadata)) =
        (read("libphonenumber-js/examples.mobile.json"), read("libphonenumber-js/metadata.min.json"))
    else {
        return;
    };
    let parse = |text: &str| opsiq_sdk::serde_json::from_str::<Value>(text).unwrap();
    let (examples, metadata) = (parse(&examples), parse(&metadata));
    let mut seen = 0;
    for (code, countries) in metadata["country_calling_codes"].as_object().unwrap() {
        for country in countries.as_array().unwrap() {
            let Some(national) = examples[country.as_str().unwrap()].as_str() else { continue };
            seen += 1;
            let (area, rest) = national.split_at(3);
            for spelling in
                [format!("+{code}{national}"), format!("+{code} {area} {rest}"), format!("+{code}-{area}-{rest}")]
            {
                assert_eq!(kinds_in(&format!("<{spelling}>"), "phone"), [spelling], "{country}");
            }
            assert!(kinds_in(national, "phone").is_empty(), "bare digits of {country}: {national}");
        }
    }
    assert!(seen > 200, "{seen} countries");
}
