//! Which passwords may be taken on (NIST SP 800-63B §5.1.1.2): long enough, and not one that everybody takes. No rules of
//! composition, no expiry.
//!
//! A list of the passwords people share cannot be long enough, since nearly all long ones are made of the same few pieces:
//! a common word, a name of the service, a run of keys or digits. So a password is taken apart into such pieces, and what
//! is left over must be enough.

/// Characters of a password, at least.
pub const SHORTEST: usize = 12;
/// Characters that must remain once everything common is taken away.
const LEFT: usize = 5;
/// Characters of a run that is worth nothing, at least.
const RUN: usize = 3;

/// Why a password cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Not UTF-8.
    #[error("a password is text")]
    NotText,
    /// Too short.
    #[error("a password has at least {SHORTEST} characters")]
    TooShort,
    /// Too long.
    #[error("a password has at most 1024 bytes")]
    TooLong,
    /// Made of what everybody takes, of runs of keys, or of the names of tenant and user.
    #[error("this password is one of those that are tried first: a common word, a run of keys, or a name of yours")]
    Common,
}

/// Pieces that passwords are made of: what lists of leaked passwords have most of, in lower case and without disguise.
const WORDS: &[&str] = &[
    "abc",
    "access",
    "admin",
    "administrator",
    "alexander",
    "america",
    "amanda",
    "andrea",
    "andrew",
    "angel",
    "anthony",
    "apple",
    "arsenal",
    "asdf",
    "ashley",
    "august",
    "autumn",
    "azerty",
    "baby",
    "bailey",
    "banana",
    "barcelona",
    "baseball",
    "basketball",
    "batman",
    "beautiful",
    "berlin",
    "blue",
    "buster",
    "butterfly",
    "change",
    "changeme",
    "charlie",
    "chelsea",
    "chocolate",
    "christian",
    "computer",
    "cookie",
    "cowboys",
    "daniel",
    "default",
    "diamond",
    "dragon",
    "elephant",
    "england",
    "family",
    "flower",
    "football",
    "forever",
    "freedom",
    "friends",
    "frühling",
    "ginger",
    "god",
    "google",
    "hallo",
    "hannah",
    "hello",
    "herbst",
    "hockey",
    "hunter",
    "iloveyou",
    "internet",
    "jasmine",
    "jennifer",
    "jessica",
    "jesus",
    "jordan",
    "joshua",
    "justin",
    "killer",
    "kitty",
    "laptop",
    "letmein",
    "linkedin",
    "liverpool",
    "login",
    "london",
    "love",
    "lovely",
    "lucky",
    "maggie",
    "manager",
    "marina",
    "master",
    "matrix",
    "matthew",
    "merlin",
    "michael",
    "michelle",
    "microsoft",
    "monday",
    "money",
    "monkey",
    "mustang",
    "mypassword",
    "nicole",
    "office",
    "oliver",
    "opsiq",
    "orange",
    "ordinateur",
    "passwort",
    "passw",
    "password",
    "pass",
    "patrick",
    "peanut",
    "pepper",
    "pokemon",
    "princess",
    "private",
    "purple",
    "qwerty",
    "qwertz",
    "rainbow",
    "robert",
    "root",
    "samantha",
    "samsung",
    "schatz",
    "secret",
    "server",
    "shadow",
    "silver",
    "soccer",
    "sommer",
    "spring",
    "starwars",
    "summer",
    "sunday",
    "sunshine",
    "superman",
    "superuser",
    "support",
    "sweet",
    "system",
    "taylor",
    "temp",
    "test",
    "thomas",
    "thunder",
    "tigger",
    "trustno",
    "user",
    "welcome",
    "whatever",
    "william",
    "winter",
    "word",
    "yankees",
    "you",
    "zaq",
];

/// Rows of keys, and the columns people walk down.
const KEYS: &[&str] = &[
    "1234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
    "wxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
    "abcdefghijklmnopqrstuvwxyz",
];

/// Checks a password of whoever `context` describes.
pub(crate) fn check(password: &str, context: &[&str]) -> Result<(), PasswordFault> {
    if password.chars().count() < SHORTEST {
        return Err(PasswordFault::TooShort);
    }
    if left(password, context) < LEFT { Err(PasswordFault::Common) } else { Ok(()) }
}

/// The characters that are part of no common piece, at the best way to take the password apart.
fn left(password: &str, context: &[&str]) -> usize {
    let lower: Vec<char> = password.to_lowercase().chars().collect();
    let plain: Vec<char> = lower.iter().map(|letter| undisguised(*letter)).collect();
    let names: Vec<Vec<char>> = context
        .iter()
        .flat_map(|name| name.split(|c: char| !c.is_alphanumeric()).chain([*name]).map(str::to_lowercase))
        .filter(|name| name.chars().count() >= RUN)
        .flat_map(|name| [name.chars().collect(), name.chars().map(undisguised).collect()])
        .collect();
    let words: Vec<Vec<char>> = WORDS.iter().map(|word| word.chars().map(undisguised).collect()).collect();
    // least[at]: what is left over of the characters from there on.
    let mut least = vec![0; lower.len() + 1];
    for at in (0..lower.len()).rev() {
        let mut best = 1 + least[at + 1];
        // A single digit or sign between or after pieces is what people add when they must.
        if !lower[at].is_alphabetic() {
            best = best.min(least[at + 1] + usize::from(at > 0 && lower[at - 1].is_alphabetic()));
        }
        for piece in words.iter().chain(&names) {
            if plain[at..].starts_with(piece) || lower[at..].starts_with(piece) {
                best = best.min(least[at + piece.len()]);
            }
        }
        for length in RUN..=run_at(&lower[at..]) {
            best = best.min(least[at + length]);
        }
        least[at] = best;
    }
    least[0]
}

/// A letter for the sign that stands in for it.
fn undisguised(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' | '!' | '|' | 'i' => 'l',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        letter => letter,
    }
}

/// How many characters from the beginning repeat one, count up or down, or walk along the keys.
fn run_at(text: &[char]) -> usize {
    let steps = |step: i64| {
        let follows = |pair: &&[char]| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == step;
        1 + text.windows(2).take_while(follows).count()
    };
    let mut longest = [-1, 0, 1].map(steps).into_iter().max().unwrap_or(0);
    for keys in KEYS {
        for row in [keys.chars().collect::<Vec<_>>(), keys.chars().rev().collect()] {
            for from in (0..row.len()).filter(|from| row[*from] == text[0]) {
                let same = row[from..].iter().zip(text).take_while(|(a, b)| a == b).count();
                longest = longest.max(same);
            }
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_takes_is_refused() {
        for common in [
            "password1234",
            "P@ssw0rd2026!",
            "passwordpassword",
            "qwertyuiop12",
            "1q2w3e4r5t6y",
            "1qaz2wsx3edc",
            "123456789012",
            "aaaaaaaaaaaa",
            "abcdefghijkl",
            "iloveyou1234",
            "Welcome2026!!",
            "letmein-letmein",
            "Sommer2026!!!",
            "changeme12345",
            "acmeacmeacme",
            "olga.acme.2026",
            "opsiq-admin-1",
            "zyxwvutsrqpo",
            "MonkeyDragon1",
        ] {
            assert_eq!(check(common, &["acme", "olga"]), Err(PasswordFault::Common), "{common}");
        }
    }

    #[test]
    fn what_is_long_and_ones_own_is_taken() {
        for own in
            ["correct horse battery staple", "Zwei Igel am Teich", "gh7!kq0vb2mx", "Ωμέγα και άλφα", "xkzvwpqjrmtb"]
        {
            assert_eq!(check(own, &["acme", "olga"]), Ok(()), "{own}");
        }
        assert_eq!(check("gh7!kq0vb2m", &[]), Err(PasswordFault::TooShort));
    }

    #[test]
    fn a_name_counts_only_for_whose_it_is() {
        assert_eq!(check("wilhelmine.thorvald", &["wilhelmine", "thorvald"]), Err(PasswordFault::Common));
        assert_eq!(check("wilhelmine.thorvald", &["acme", "olga"]), Ok(()));
    }
}
