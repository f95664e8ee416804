//! CBOR as far as authenticators speak it (CTAP 2.1 section 8): definite lengths, no tags, few levels. What lies outside is not read.

/// Levels of nesting, at most: the standard allows four, and extensions of statements lie within them.
const DEEPEST: u8 = 8;

/// A value. Texts and bytes are those of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// An integer that has 64 bits with its sign.
    Integer(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Self>),
    /// No key is there twice.
    Map(Vec<(Self, Self)>),
    /// A truth value, nothing, or a number with a fraction: of no use here.
    Other,
}

impl<'a> Item<'a> {
    /// The value under a key of a map.
    pub(super) fn get(&self, key: &Item<'_>) -> Option<&Item<'a>> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The bytes under a number in a map.
    pub(super) fn bytes_at(&self, key: i64) -> Option<&'a [u8]> {
        match self.get(&Item::Integer(key)) {
            Some(Item::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The integer under a number in a map.
    pub(super) fn integer_at(&self, key: i64) -> Option<i64> {
        match self.get(&Item::Integer(key)) {
            Some(Item::Integer(value)) => Some(*value),
            _ => None,
        }
    }
}

/// The first value of `input`, and what follows it; `None` for what is none.
pub(super) fn first(input: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let mut reader = Reader { rest: input };
    let item = reader.item(DEEPEST)?;
    Some((item, reader.rest))
}

/// The one value that `input` is.
pub(super) fn whole(input: &[u8]) -> Option<Item<'_>> {
    first(input).filter(|(_, rest)| rest.is_empty()).map(|(item, _)| item)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Kind and argument of what comes (RFC 8949 section 3).
    fn head(&mut self) -> Option<(u8, u8, u64)> {
        let first = *self.take(1)?.first()?;
        let (kind, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..=23 => u64::from(info),
            24..=27 => self.take(1 << (info - 24))?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
            _ => return None,
        };
        Some((kind, info, argument))
    }

    fn item(&mut self, levels: u8) -> Option<Item<'a>> {
        let levels = levels.checked_sub(1)?;
        let (kind, info, argument) = self.head()?;
        Some(match kind {
            0 => Item::Integer(i64::try_from(argument).ok()?),
            1 => Item::Integer(-1 - i64::try_from(argument).ok()?),
            2 => Item::Bytes(self.take(argument)?),
            3 => Item::Text(std::str::from_utf8(self.take(argument)?).ok()?),
            // Room is not made by a count that somebody else wrote: each value takes a byte of the input at least.
            4 => {
                let mut items = Vec::new();
                for _ in 0..argument {
                    items.push(self.item(levels)?);
                }
                Item::Array(items)
            }
            5 => {
                let mut pairs: Vec<(Item<'a>, Item<'a>)> = Vec::new();
                for _ in 0..argument {
                    let (key, value) = (self.item(levels)?, self.item(levels)?);
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return None;
                    }
                    pairs.push((key, value));
                }
                Item::Map(pairs)
            }
            7 if (20..=23).contains(&info) || (25..=27).contains(&info) => Item::Other,
            _ => return None,
        })
    }
}
