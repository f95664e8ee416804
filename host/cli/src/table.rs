//! Columns and cards for people: left-aligned, two spaces apart, never cut, so that a result can be piped and searched.

use jiff::Timestamp;

use crate::text;

/// Rows under one header.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.iter().map(|name| name.to_uppercase()).collect()] }
    }

    /// Adds a row; what is empty shows as a dash.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { text::line(&cell) });
        self.rows.push(shown.into());
    }

    /// The table, or `nothing` when it has no rows.
    pub(crate) fn or(self, nothing: &str) -> String {
        if self.rows.len() > 1 { self.aligned() } else { nothing.to_owned() }
    }

    fn aligned(self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.add_rows(self.rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Names and values, one a line.
#[derive(Debug)]
pub(crate) struct Card {
    table: Table,
}

impl Card {
    /// An empty card.
    pub(crate) fn new() -> Self {
        Self { table: Table { rows: Vec::new() } }
    }

    /// Adds a line, unless the value is empty.
    pub(crate) fn line(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.table.row([name.to_owned(), value]);
        }
    }

    /// The card.
    pub(crate) fn shown(self) -> String {
        self.table.aligned()
    }
}

/// A moment in UTC, to the second, from milliseconds since 1970.
pub(crate) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A time span in the unit that keeps the number short, from microseconds.
pub(crate) fn span(us: u64) -> String {
    match us {
        0..=9_999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..=9_999_999 => format!("{} ms", us / 1000),
        10_000_000..=599_999_999 => format!("{} s", us / 1_000_000),
        _ => format!("{} min", us / 60_000_000),
    }
}

/// Bytes in the unit that keeps the number short.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=10_239_999 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / (1024 * 1024)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Card, Table, bytes, span, time};

    #[test]
    fn columns_align_and_control_characters_do_not_break_them() {
        let mut table = Table::new(["name", "what"]);
        table.row(["a".to_owned(), "one\ntwo".to_owned()]);
        table.row(["longer".to_owned(), String::new()]);
        assert_eq!(table.or("none"), "NAME    WHAT\na       one\\u{a}two\nlonger  -");
        assert_eq!(Table::new(["name"]).or("no names"), "no names");
    }

    #[test]
    fn a_card_leaves_out_what_is_empty() {
        let mut card = Card::new();
        card.line("id", "7");
        card.line("note", "");
        card.line("title", "Acme");
        assert_eq!(card.shown(), "id     7\ntitle  Acme");
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
        assert_eq!((span(950), span(45_600), span(61_000_000)), ("0.9 ms".into(), "45 ms".into(), "61 s".into()));
        assert_eq!((bytes(512), bytes(65_536), bytes(64 << 20)), ("512 B".into(), "64 KiB".into(), "64 MiB".into()));
    }
}
