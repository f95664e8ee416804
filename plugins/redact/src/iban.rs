//! Bank accounts: IBAN (ISO 13616), in one piece or in groups of four, in either case.
//!
//! Country, length and form are those of the SWIFT registry and of the countries that use the scheme without being in it;
//! the check digits are ISO/IEC 7064 MOD 97-10.

use crate::Kind;
use crate::scan::{Text, separator};

/// Country, and what follows its two check digits: how many digits (n), capital letters (a) or either (c).
const COUNTRIES: &str = "\
    AD 8n12c AE 19n AL 8n16c AO 21n AT 16n AX 14n AZ 4a20c BA 16n BE 12n BF 2c22n BG 4a6n8c BH 4a14c BI 23n \
    BJ 2c22n BL 10n11c2n BR 23n1a1c BY 4a4n16c CF 23n CG 23n CH 5n12c CI 2c22n CM 23n CR 18n CV 21n CY 8n16c CZ 20n \
    DE 18n DJ 23n DK 14n DO 4a20n DZ 22n EE 16n EG 25n ES 20n FI 14n FK 2a12n FO 14n FR 10n11c2n GA 23n GB 4a14n \
    GE 2c16n GF 10n11c2n GI 4a15c GL 14n GP 10n11c2n GQ 23n GR 7n16c GT 24c GW 2a19n HN 4a20n HR 17n HU 24n \
    IE 4c14n IL 19n IQ 4a15n IR 22n IS 22n IT 1a10n12c JO 4a4n18c KM 23n KW 4a22c KZ 3n13c LB 4n20c LC 4a24c \
    LI 5n12c LT 16n LU 3n13c LV 4a13c LY 21n MA 24n MC 10n11c2n MD 20c ME 18n MF 10n11c2n MG 23n MK 3n10c2n \
    ML 2c22n MN 16n MQ 10n11c2n MR 23n MT 4a5n18c MU 4a19n3a MZ 21n NC 10n11c2n NE 2a22n NI 4a20n NL 4a10n NO 11n \
    OM 3n16c PF 10n11c2n PK 4c16n PL 24n PM 10n11c2n PS 4c21n PT 21n QA 4a21c RE 10n11c2n RO 4a16c RS 18n RU 14n15c \
    SA 2n18c SC 4a20n3a SD 14n SE 20n SI 15n SK 20n SM 1a10n12c SN 2c22n SO 19n ST 21n SV 4a20n TD 23n TF 10n11c2n \
    TG 2a22n TL 19n TN 20n TR 5n17c UA 6n19c VA 18n VG 4c16n WF 10n11c2n XK 16n YE 4a4n18c YT 10n11c2n";

/// Characters of the longest account number (ISO 13616-1 §5).
const LONGEST: usize = 34;

/// The forms by country, each at the place its two letters give: one letter for each character.
pub(crate) struct Forms(Vec<Vec<u8>>);

impl Forms {
    pub(crate) fn new() -> Self {
        let mut forms = vec![Vec::new(); 26 * 26];
        let mut words = COUNTRIES.split_ascii_whitespace();
        while let (Some(country), Some(form)) = (words.next(), words.next()) {
            if let &[a, b] = country.as_bytes() {
                forms[place(a, b)] = kinds(form).collect();
            }
        }
        Self(forms)
    }
}

/// Where a country stands, by its letters in either case.
fn place(a: u8, b: u8) -> usize {
    let letter = |byte: u8| usize::from(byte.to_ascii_uppercase() - b'A');
    letter(a) * 26 + letter(b)
}

/// The kind of each character of a form.
fn kinds(form: &str) -> impl Iterator<Item = u8> {
    let parts = form.split_inclusive(|c: char| c.is_ascii_lowercase());
    parts.flat_map(|part| {
        let (count, kind) = part.split_at(part.len() - 1);
        core::iter::repeat_n(kind.as_bytes()[0], count.parse().unwrap_or(0))
    })
}

pub(crate) fn find(text: &mut Text<'_>, forms: &Forms) {
    let mut from = 0;
    // Every number has its check digits two letters on.
    while let Some(digit) = text.next(from, |byte| byte.is_ascii_digit()) {
        let start = digit.checked_sub(2);
        let end = start.and_then(|start| account(text, start, forms).filter(|end| text.take(Kind::Iban, start..*end)));
        from = end.unwrap_or_else(|| digit + text.run(digit, |byte| byte.is_ascii_digit()));
    }
}

/// Where the account number ends that begins at `at`.
fn account(text: &Text<'_>, at: usize, forms: &Forms) -> Option<usize> {
    let &[a, b, ref check @ ..] = text.bytes.get(at..at + 4)? else { return None };
    if !(a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && check.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let form = &forms.0[place(a, b)];
    if form.is_empty() || text.glued_before(at) {
        return None;
    }
    let between = &text.bytes[at + 4..at + 4 + separator(&text.bytes, at + 4).unwrap_or(0)];
    let mut number = [0; LONGEST];
    let number = number.get_mut(..4 + form.len())?;
    let mut end = at;
    for (index, into) in number.iter_mut().enumerate() {
        if index > 0 && index % 4 == 0 {
            if !text.bytes[end..].starts_with(between) {
                return None;
            }
            end += between.len();
        }
        let byte = text.byte(end);
        let fits = match index.checked_sub(4).map(|index| form[index]) {
            Some(b'n') => byte.is_ascii_digit(),
            Some(b'a') => byte.is_ascii_alphabetic(),
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return None;
        }
        *into = byte.to_ascii_uppercase();
        end += 1;
    }
    (checks(number) && !text.glued_after(end)).then_some(end)
}

/// Whether the number leaves one over 97, read from the fifth character round to the fourth. Check digits run from 02
/// to 98, so that each account has one number.
fn checks(number: &[u8]) -> bool {
    let round = number[4..].iter().chain(&number[..4]);
    let rest = round.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1 && !matches!(&number[2..4], b"00" | b"01" | b"99")
}
