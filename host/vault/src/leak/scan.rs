//! The search for all forms of all secrets at once.

use std::ops::{ControlFlow, Range};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::forms::{Wiping, forms};
use crate::{Secret, fresh};

/// Bytes a secret has at least. Shorter ones can neither be kept out of logs and results nor be told from ordinary text.
pub const SECRET_MIN: usize = WINDOW;

/// Bytes of a form that the filter knows.
const WINDOW: usize = 8;
/// Bits of the filter for each form: one window in 64 of a text that holds no secret is looked at twice.
const BITS: usize = 64;
/// The least and the most bits of the filter, as powers of two: 512 bytes, 512 KiB.
const LEAST: usize = 1 << 12;
const MOST: usize = 1 << 22;

/// Finds secrets in bytes, in each of their [forms](super). Does not undo escapes.
#[derive(Default)]
pub struct SecretScan {
    /// Makes fingerprints of windows, so that nobody can choose texts that collide.
    key: (u64, u64),
    /// A bit for each fingerprint, by its first bits; their number is a power of two.
    filter: Zeroizing<Vec<u64>>,
    /// What leaves of a fingerprint the number of its bit.
    shift: u32,
    /// In ascending order; each belongs to the needle of the same number.
    fingerprints: Zeroizing<Vec<u64>>,
    needles: Vec<Needle>,
    longest: usize,
}

/// One form of one secret.
struct Needle {
    form: Wiping,
    /// Where its window begins.
    window: usize,
    secret: usize,
}

impl Needle {
    fn window(&self) -> u64 {
        word(&self.form[self.window..])
    }
}

/// Where a secret stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// From which byte to which.
    pub at: Range<usize>,
    /// The secret's number, in the order given.
    pub secret: usize,
}

impl SecretScan {
    /// A scan for these secrets; those shorter than [`SECRET_MIN`] are not looked for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut needles = Vec::new();
        for (secret, value) in secrets.into_iter().enumerate() {
            let forms = forms(value.expose()).into_iter();
            needles.extend(forms.map(|form| Needle { window: (form.len() - WINDOW) / 2, form, secret }));
        }
        if needles.is_empty() {
            return Self::default();
        }
        let bits = (needles.len() * BITS).next_power_of_two().clamp(LEAST, MOST);
        let mut scan = Self {
            key: random(),
            filter: Zeroizing::new(vec![0; bits / 64]),
            shift: 64 - bits.trailing_zeros(),
            fingerprints: Zeroizing::new(Vec::with_capacity(needles.len())),
            longest: needles.iter().map(|needle| needle.form.len()).max().unwrap_or(0),
            needles: Vec::new(),
        };
        // In place: a stable sort would keep fingerprints in memory of its own.
        needles.sort_unstable_by_key(|needle| scan.fingerprint(needle.window()));
        for needle in &needles {
            let fingerprint = scan.fingerprint(needle.window());
            scan.fingerprints.push(fingerprint);
            let bit = fingerprint >> scan.shift;
            scan.filter[index(bit >> 6)] |= 1 << (bit & 63);
        }
        scan.needles = needles;
        scan
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Bytes of the longest form.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Every trace in `text`, by its beginning. Traces may overlap.
    pub fn traces(&self, text: &[u8]) -> Vec<Trace> {
        let mut traces = Vec::new();
        let _ = self.each(text, |trace| {
            traces.push(trace);
            ControlFlow::<()>::Continue(())
        });
        traces.sort_unstable_by_key(|trace| (trace.at.start, trace.at.end, trace.secret));
        traces
    }

    /// Calls `found` with every trace in `text`, in no particular order, until it breaks.
    pub(super) fn each<B>(&self, text: &[u8], mut found: impl FnMut(Trace) -> ControlFlow<B>) -> ControlFlow<B> {
        if self.needles.is_empty() {
            return ControlFlow::Continue(());
        }
        for (at, window) in text.array_windows::<WINDOW>().enumerate() {
            let fingerprint = self.fingerprint(u64::from_le_bytes(*window));
            let bit = fingerprint >> self.shift;
            if self.filter[index(bit >> 6)] >> (bit & 63) & 1 == 1 {
                self.compare(fingerprint, text, at, &mut found)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Compares every needle of this fingerprint with the text around its window.
    #[cold]
    fn compare<B>(
        &self,
        fingerprint: u64,
        text: &[u8],
        at: usize,
        found: &mut impl FnMut(Trace) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = self.fingerprints.partition_point(|known| *known < fingerprint);
        let same = self.fingerprints[first..].iter().take_while(|known| **known == fingerprint).count();
        for needle in &self.needles[first..first + same] {
            let Some(start) = at.checked_sub(needle.window) else { continue };
            let end = start + needle.form.len();
            if text.get(start..end).is_some_and(|part| part.ct_eq(&needle.form).into()) {
                found(Trace { at: start..end, secret: needle.secret })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// One to one, so that equal fingerprints mean equal windows.
    #[inline]
    fn fingerprint(&self, window: u64) -> u64 {
        (window ^ self.key.0).wrapping_mul(self.key.1)
    }
}

/// The first eight bytes as a number.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The number of a word of the filter, which is far smaller than the address space.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Two random numbers, the second odd, so that multiplying by it loses nothing.
fn random() -> (u64, u64) {
    let mut bytes = [0; 16];
    fresh(&mut bytes);
    (word(&bytes), word(&bytes[8..]) | 1)
}
