//! Between columns and types. What does not convert was not written by this host.

use crate::StoreError;

/// An enumeration stored as text.
macro_rules! text_enum {
    ($(#[$doc:meta])* $vis:vis $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// The word it is stored and shown as.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// What a word stands for, if it is one of these.
            $vis fn from_word(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }

            pub(crate) fn from_column(text: &str) -> Result<Self, $crate::StoreError> {
                Self::from_word(text).ok_or_else(|| $crate::StoreError::damaged($what))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

/// An unsigned number as a column. Numbers here count rows, bytes and versions, and stay below 2⁶³.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number read back.
pub(crate) fn unsigned(what: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::damaged(what))
}

/// A hash read back.
pub(crate) fn hash(what: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::damaged(what))
}

/// An id read back.
pub(crate) fn id<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::damaged(what))
}
