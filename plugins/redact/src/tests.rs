//! Texts with what is to be found in them; [`lists`] has those of others.

mod lists;

use opsiq_sdk::serde_json::Value;

use super::*;

/// What is found in a text, as kind and text.
fn found(text: &str) -> Vec<(String, String)> {
    let spans = Finders::of(None).scan(text);
    spans.into_iter().map(|span| (span.kind.to_string(), text[span.range].to_owned())).collect()
}

#[track_caller]
fn finds(kind: &str, text: &str, expected: &[&str]) {
    let expected: Vec<(String, String)> = expected.iter().map(|text| (kind.to_owned(), (*text).to_owned())).collect();
    assert_eq!(found(text), expected, "{text}");
}

/// A value is found alone and in whatever surrounds it.
#[track_caller]
fn finds_anywhere(kind: &str, value: &str) {
    for (before, after) in [
        ("", ""),
        (" ", " "),
        ("It is ", "."),
        ("(", ")"),
        ("<", ">"),
        ("\"", "\","),
        ("'", "';"),
        ("日本語：", "。"),
        ("x: ", "\n"),
        ("\t", "!"),
        ("[", "]"),
        ("one, ", ", two"),
        ("a=", "&b"),
        ("…", "?"),
    ] {
        finds(kind, &format!("{before}{value}{after}"), &[value]);
    }
}

#[track_caller]
fn finds_nothing(text: &str) {
    assert_eq!(found(text), [], "{text}");
    assert_eq!(found(&format!("see {text}, thanks")), [], "{text}");
}

#[test]
fn emails() {
    for value in [
        "joe@example.com",
        "j.o.e+tag-1_x%y@mail.example.co.uk",
        "O'Brien@example.ie",
        "1@example.museum",
        "joe@xn--bcher-kva.example",
        "jürgen@bücher.example",
        "用户@例子.公司",
        "\"john doe\"@example.com",
        "\"a@b\"@example.com",
        "joe@1and1.com",
        "JOE@EXAMPLE.COM",
        "joe@a-b.example.com",
    ] {
        finds_anywhere("email", value);
    }
    finds("email", "mailto:joe@example.com?subject=x", &["joe@example.com"]);
    finds("email", "a@example.com,b@example.com;c@example.com", &["a@example.com", "b@example.com", "c@example.com"]);
    finds("email", "Ada Lovelace <ada@example.com>", &["ada@example.com"]);
    finds("email", "joe@example.com.", &["joe@example.com"]);
    finds("email", "**joe@example.com**", &["joe@example.com"]);
    finds(
        "email",
        "name/surname@example.com, <mailhost!joe@example.org>",
        &["name/surname@example.com", "mailhost!joe@example.org"],
    );
    finds("email", "see https://example.com/joe@example.com or docs/of/joe@example.com", &["joe@example.com"; 2]);
    finds("email", "联系joe@example.com谢谢", &["联系joe@example.com"]);
    for text in [
        "joe@localhost",
        "joe@example",
        "joe@example.c",
        "joe@example..com",
        "joe..doe@example.com",
        ".joe@example.com",
        "joe.@example.com",
        "@example.com",
        "joe@",
        "joe@.com",
        "joe@-example.com",
        "joe@example-.com",
        "joe@example.123",
        "a@b@example.com",
        "joe@example.com@example.com",
        "react@18.2.0",
        "icon@2x.png",
        "https://joe:secret@example.com/",
        "ftp://joe@example.com/",
        "@app.route",
    ] {
        finds_nothing(text);
    }
    finds_nothing(&format!("{}@example.com", "x".repeat(65)));
    finds_nothing(&format!("joe@{}.com", "x".repeat(64)));
}

#[test]
fn cards() {
    for value in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "4111\u{2011}1111\u{2011}1111\u{2011}1111",
        "378282246310005",
        "3782 822463 10005",
        "3056 930902 5904",
        "30569309025904",
        "5555 5555 5555 4444",
        "6304 0000 0000 0000",
        "4222222222222",
        "6212 3456 7890 0000 003",
        "676182637287",
        "6762 9059 5823",
    ] {
        finds_anywhere("card", value);
    }
    finds(
        "card",
        "4111 1111 1111 1111 5555 5555 5555 4444,378282246310005",
        &["4111 1111 1111 1111", "5555 5555 5555 4444", "378282246310005"],
    );
    finds("card", "order 1234 4111 1111 1111 1111 12/27 123", &["4111 1111 1111 1111"]);
    finds("card", "card:4111111111111111;exp=1227", &["4111111111111111"]);
    for text in [
        "4111111111111112",
        "4111 1111 1111 1112",
        "1111111111111117",
        "9999999999999995",
        "41111111111111111111",
        "411111111111111",
        "4111 111 1111 11111",
        "4111-1111 1111-1111",
        "4111.1111.1111.1111",
        "0.4111111111111111",
        "4111111111111111.5",
        "x4111111111111111",
        "4111111111111111f",
        "1234-4111-1111-1111-1111",
        "4111-1111-1111-1111-1111",
        "00000000-4111-4111-8111-111111111111",
        "1700000000000000",
        "1767225600000",
        "1767225600000000000",
        "9780306406157",
        "676182637288",
        "4176 0313 7215 9018",
        "4590 5489 0103 9799 346",
        "2221 5617 4833 8010",
        "6542 0051 2504 9322",
    ] {
        finds_nothing(text);
    }
}

#[test]
fn ibans() {
    for value in [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "de89 3704 0044 0532 0130 00",
        "DE89-3704-0044-0532-0130-00",
        "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00",
        "GB82 WEST 1234 5698 7654 32",
        "gb82west12345698765432",
        "NO93 8601 1117 947",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    ] {
        finds_anywhere("iban", value);
    }
    finds("iban", "DE89 3704 0044 0532 0130 00 is mine", &["DE89 3704 0044 0532 0130 00"]);
    finds(
        "iban",
        "IBAN:DE89370400440532013000/GB82WEST12345698765432",
        &["DE89370400440532013000", "GB82WEST12345698765432"],
    );
    for text in [
        "DE88370400440532013000",
        "DE8937040044053201300",
        "DE893704004405320130000",
        "DE89 3704 0044 0532 0130 0",
        "DE893704 0044 0532 0130 00",
        "XX89370400440532013000",
        "GB82 1234 1234 5698 7654 32",
        "IDE89370400440532013000",
        "DE89370400440532013000X",
    ] {
        assert!(!found(text).iter().any(|(kind, _)| kind == "iban"), "{text}");
    }
}

#[test]
fn addresses() {
    for value in ["203.0.113.9", "0.0.0.0", "255.255.255.255", "10.0.0.1"] {
        finds_anywhere("ipv4", value);
    }
    finds(
        "ipv4",
        "http://203.0.113.9:8080/x 10.0.0.0/8 10.0.0.1-10.0.0.9",
        &["203.0.113.9", "10.0.0.0", "10.0.0.1", "10.0.0.9"],
    );
    for value in [
        "2001:db8::1",
        "2001:0db8:0000:0000:0000:ff00:0042:8329",
        "2001:DB8::A",
        "::1",
        "fe80::1%eth0",
        "fe80::1%25",
        "::ffff:203.0.113.9",
        "2001:db8::",
        "64:ff9b::203.0.113.9",
    ] {
        finds_anywhere("ipv6", value);
    }
    finds(
        "ipv6",
        "https://[2001:db8::1]:443/ 2001:db8::/32 from 2001:db8::2: ok",
        &["2001:db8::1", "2001:db8::", "2001:db8::2"],
    );
    for text in [
        "1.2.3.4.5",
        "1.2.3",
        "256.1.1.1",
        "1.2.3.04",
        "v1.2.3.4",
        "version 1.2.3.4",
        "1.2.3.4-beta",
        "1.2.3.4a",
        "12:34:56",
        "2026-11-23T18:50:02.123Z",
        "00:1b:44:11:3a:b7",
        "00:1b:44:11:3a:b7:00:01",
        "std::vec::Vec",
        "abc::def",
        "a::b",
        "::",
        "1::2::3",
        "12345::1",
        ":::1",
    ] {
        finds_nothing(text);
    }
}

#[test]
fn phones() {
    for value in [
        "+4930123456",
        "+49 30 123456",
        "+49 (0)30 123456",
        "+49-30-123456",
        "+1 415 555 2671",
        "+1 (415) 555-2671",
        "+1.415.555.2671",
        "+14155552671",
        "+44 20 7946 0958",
        "+33 1 23 45 67 89",
        "0049 30 123456",
        "(415) 555-2671",
        "415-555-2671",
        "415.555.2671",
        "415 555 2671",
        "1-415-555-2671",
        "030 1234567",
        "030/1234567",
        "(030) 1234567",
        "0171-1234567",
        "020 7946 0958",
        "01 23 45 67 89",
        "01.23.45.67.89",
        "03-1234-5678",
    ] {
        finds_anywhere("phone", value);
    }
    finds("phone", "tel:+14155552671;ext=5", &["+14155552671"]);
    finds("phone", "+49 30 123456 +44 20 7946 0958", &["+49 30 123456", "+44 20 7946 0958"]);
    finds("phone", "+49 30 1234567 2026-11-23", &["+49 30 1234567"]);
    for text in [
        "4155552671",
        "2026-11-23",
        "2026-11-23 18:50:02",
        "23.11.2026",
        "01.02.2026 10:30",
        "01/02/2026 1030",
        "123-456-7890",
        "415-155-2671",
        "078-05-1120",
        "02139-4307",
        "978-3-16-148410-0",
        "550e8400-e29b-41d4-a716-446655440000",
        "0.123 456 789",
        "1,234,567,890",
        "1 234 567 890",
        "+5",
        "1+14155552671",
        "+0 30 123456",
        "+999 30 123456",
        "+12 345 678 90",
        "000123 456789",
        "0001-2345-6789",
        "order 2026-000123-4",
        "100 200 300",
        "C++11 2011",
        "192.168.100.200.300",
        "12-415-555-2671",
    ] {
        finds_nothing(text);
    }
}

#[test]
fn the_most_specific_takes_what_overlaps() {
    let text =
        "DE89 3704 0044 0532 0130 00 4111 1111 1111 1111 +49 30 123456 4111111111111111@example.com ::ffff:10.0.0.1";
    let kinds: Vec<String> = found(text).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["iban", "card", "phone", "email", "ipv6"]);
    finds("phone", "+49 30 123456", &["+49 30 123456"]);
    // What is not asked for is not taken for something else.
    let params = MaskParams {
        text: Some(text.into()),
        value: None,
        style: Some(Style::Label),
        kinds: Some(vec![Kind::Phone, Kind::Ipv4]),
    };
    let masked = mask(params).text.unwrap();
    assert_eq!(masked, text.replace("+49 30 123456", "[phone]"));
}

fn mask(params: MaskParams) -> MaskResult {
    Plugin::mask(&Context::new(), params).unwrap()
}

fn masked(value: Value, style: Option<Style>) -> (u64, Value) {
    let done = mask(MaskParams { text: None, value: Some(value), kinds: None, style });
    (done.total, done.value.unwrap())
}

#[test]
fn masks_keep_what_the_style_keeps() {
    let text = "4111 1111 1111 1111, 4111111111111111, 5555555555554444, DE89 3704 0044 0532 0130 00, joe@example.com.";
    let styled = |style| mask(MaskParams { text: Some(text.into()), value: None, kinds: None, style }).text.unwrap();
    assert_eq!(styled(Some(Style::Label)), "[card], [card], [card], [iban], [email].");
    assert_eq!(styled(None), "[card …1111], [card …1111], [card …4444], [iban …3000], [email].");
    assert_eq!(styled(Some(Style::Numbered)), "[card 1], [card 1], [card 2], [iban 1], [email 1].");
}

#[test]
fn json_is_masked_in_texts_names_and_numbers() {
    let value = json!({
        "joe@example.com": 1,
        "JOE@example.com": 2,
        "card": 4_111_111_111_111_111_u64,
        "not": [4_111_111_111_111_112_u64, 4_155_552_671_u64, -4_111_111_111_111_111_i64, 0.5, true, null],
        "deep": [{ "to": "ring +49 30 123456 or +44 20 7946 0958" }],
    });
    let (total, masked) = masked(value.clone(), None);
    assert_eq!(total, 5);
    assert_eq!(
        masked,
        json!({
            "[email]": 2,
            "[email] (2)": 1,
            "card": "[card …1111]",
            "not": value["not"],
            "deep": [{ "to": "ring [phone …3456] or [phone …0958]" }],
        })
    );
}

#[test]
fn findings_say_where_in_characters() {
    let find = |text: Option<&str>, value: Option<Value>| {
        Plugin::find(&Context::new(), FindParams { text: text.map(str::to_owned), value, kinds: None }).unwrap()
    };
    let told = find(Some("Grüße 🙂 an joe@example.com"), None);
    assert_eq!((told.total, told.found[0].start, told.found[0].end), (1, 11, 26));
    assert_eq!((told.found[0].path.as_deref(), told.found[0].shown.as_str()), (None, "[email]"));
    let told = find(None, Some(json!({ "a/b~c": ["", { "ö joe@example.com": 4_111_111_111_111_111_u64 }] })));
    let places: Vec<_> =
        told.found.iter().map(|f| (f.path.as_deref().unwrap(), f.name.unwrap(), f.start, f.end)).collect();
    let path = "/a~1b~0c/1/ö joe@example.com";
    assert_eq!(places, [(path, true, 2, 17), (path, false, 0, 16)]);
    // What is told shows nobody's data.
    assert!(!format!("{told:?}").contains("joe"));
    let many = find(Some(&"a@b.co ".repeat(1001)), None);
    assert_eq!((many.total, many.found.len()), (1001, 1000));
}

#[test]
fn exactly_one_input_is_taken() {
    for (text, value) in [(None, None), (Some("a".to_owned()), Some(json!(1)))] {
        let failed = Plugin::find(&Context::new(), FindParams { text, value, kinds: None });
        assert!(matches!(failed, Err(Failure::Invalid(_))));
    }
}

/// What is masked holds nothing of its kind any more, whatever the text: masks never make new findings.
#[test]
fn masking_twice_changes_nothing() {
    let pieces =
        ["4111 1111 1111 1111", "joe@example.com", "+49 30 123456", "::1", "10.0.0.1", "DE89370400440532013000"];
    for a in pieces {
        for b in pieces {
            for between in ["", " ", "-", ".", ":", "@", "/", "+", "0", "a"] {
                let text = format!("{a}{between}{b}");
                for style in [Style::Label, Style::Last4, Style::Numbered] {
                    let once =
                        mask(MaskParams { text: Some(text.clone()), value: None, kinds: None, style: Some(style) });
                    let once = once.text.unwrap();
                    let again = Finders::of(None).scan(&once);
                    assert_eq!(again, [], "{text} became {once}");
                }
            }
        }
    }
}
