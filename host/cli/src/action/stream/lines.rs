//! Reads lines of bounded length, on a thread of its own: reading may wait for ever, and whoever ends does not wait for it.

use std::io::{self, BufRead as _, BufReader, Read};

use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};

/// Bytes of a line, at most: more than any call takes unless the operator raised its limit.
pub(crate) const MAX_LINE: usize = 16 << 20;
/// Lines read ahead.
const AHEAD: usize = 1;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// What it holds; the first [`MAX_LINE`] bytes when it is longer.
    pub(crate) bytes: Vec<u8>,
    /// Whether it is longer.
    pub(crate) cut: bool,
}

/// The lines of `source`, until it ends or fails.
pub(crate) fn read(source: impl Read + Send + 'static) -> mpsc::Receiver<Result<Line, Failure>> {
    let (lines, read) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        for number in 1.. {
            let line = match next(&mut source, number, MAX_LINE) {
                Ok(None) => return,
                Ok(Some(line)) => Ok(line),
                Err(error) => Err(Failure::new(Exit::Unavailable, "cli.input", "cannot read standard input")
                    .detail(error.to_string())),
            };
            let over = line.is_err();
            if lines.blocking_send(line).is_err() || over {
                return;
            }
        }
    });
    read
}

/// The next line, of which at most `most` bytes are kept.
fn next(source: &mut BufReader<impl Read>, number: u64, most: usize) -> io::Result<Option<Line>> {
    let mut line = Line { number, bytes: Vec::new(), cut: false };
    loop {
        let found = match source.fill_buf() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if found.is_empty() {
            let nothing = line.bytes.is_empty() && !line.cut;
            return Ok((!nothing).then_some(line));
        }
        let (part, used, ends) = match found.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&found[..at], at + 1, true),
            None => (found, found.len(), false),
        };
        let kept = part.len().min(most - line.bytes.len());
        line.bytes.extend_from_slice(&part[..kept]);
        line.cut |= kept < part.len();
        source.consume(used);
        if ends {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, most: usize) -> Vec<(u64, String, bool)> {
        let mut source = BufReader::with_capacity(3, text.as_bytes());
        let lines = (1..).map_while(|number| next(&mut source, number, most).unwrap());
        lines.map(|line| (line.number, String::from_utf8(line.bytes).unwrap(), line.cut)).collect()
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let found = all("one\ntwo and more\n\nfour", 5);
        let of = |number, text: &str, cut| (number, text.to_owned(), cut);
        assert_eq!(found, [of(1, "one", false), of(2, "two a", true), of(3, "", false), of(4, "four", false)]);
        assert!(all("", 5).is_empty());
    }
}
