//! Sizes and times as people write them.
//!
//! `"64KiB"` and `"250ms"` in contracts and ceilings; a bare integer is bytes or milliseconds. Only binary units are
//! taken for sizes, so that nobody has to ask which thousand was meant.

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 3] = [("min", 60_000), ("ms", 1), ("s", 1_000)];

/// Parses a size such as `64KiB` into bytes. `None` when it is no size or does not fit.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Parses a time such as `250ms`, `30s` or `2min` into milliseconds. `None` when it is no time or does not fit.
pub fn parse_time(text: &str) -> Option<u64> {
    parse(text, &TIMES)
}

/// Writes `bytes` in the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// Writes `milliseconds` in seconds when they are whole seconds.
pub fn show_time(milliseconds: u64) -> String {
    if milliseconds > 0 && milliseconds.is_multiple_of(1_000) {
        format!("{}s", milliseconds / 1_000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// Writes `bytes` for reading: in tenths of the largest binary unit they fill.
pub fn show_about(bytes: u64) -> String {
    match SIZES.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) if *factor > 1 => {
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        _ => format!("{bytes} B"),
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) = units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|d| (d, *factor)))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let (unit, factor) = units
        .iter()
        .find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor))
        .copied()
        .unwrap_or(("B", 1));
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0B", 0), ("1B", 1), ("64KiB", 65_536), ("1MiB", 1 << 20), ("3GiB", 3 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        for bad in ["", "KiB", "1", "1kb", "1KB", "1.5MiB", "-1B", "+1B", "1 KiB", "99999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_for_reading() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1_536, "1.5 KiB"), (18_450_509, "17.5 MiB"), (u64::MAX, "17179869183.9 GiB")]
        {
            assert_eq!(show_about(bytes), text);
        }
    }

    #[test]
    fn times() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("2min", 120_000)] {
            assert_eq!(parse_time(text), Some(ms), "{text}");
            assert_eq!(parse_time(&show_time(ms)), Some(ms));
        }
        for bad in ["", "s", "1", "1h", "1.5s", "-1s", "99999999999999999999s"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
