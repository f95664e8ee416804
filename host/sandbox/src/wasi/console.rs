//! The standard streams of a component made elsewhere: lines for the log, and of a program the result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use opsiq_contract::Limits;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::budget::Budget;
use crate::fault::{Fault, FaultCode};
use crate::journal::{Journal, LogLevel};

/// Bytes one write may pass.
const PERMIT: usize = 64 << 10;
/// Bytes of a line that are kept while its end is waited for.
const LINE: usize = 4 << 10;

/// One of the two streams a component writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Out,
    Err,
}

/// Where both of them end.
#[derive(Debug)]
pub(crate) struct Console {
    began: Instant,
    budget: Arc<Budget>,
    /// Bytes the result may have, where standard output is the result.
    result_bytes: Option<u64>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    journal: Journal,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Console {
    pub(super) fn new(limits: &Limits, result_bytes: Option<u64>, began: Instant, budget: Arc<Budget>) -> Self {
        let journal = Journal::new(limits.log_lines, limits.log_bytes);
        let written = Mutex::new(Written { journal, out: Vec::new(), err: Vec::new() });
        Self { began, budget, result_bytes, written }
    }

    /// One of its streams.
    pub(super) fn channel(self: Arc<Self>, channel: Channel) -> Stream {
        Stream { console: self, channel }
    }

    /// A line of the host's own.
    pub(super) fn tell(&self, message: &str) {
        let at_ms = self.at_ms();
        self.written().journal.line(at_ms, LogLevel::Warn, message);
    }

    /// What was written as the result.
    pub(super) fn take_result(&self) -> Vec<u8> {
        std::mem::take(&mut self.written().out)
    }

    /// The log, lines without an end among it. Whatever is written later is lost.
    pub(super) fn finish(&self) -> Journal {
        let at_ms = self.at_ms();
        let mut guard = self.written();
        let written = &mut *guard;
        if self.result_bytes.is_none() {
            flush(&mut written.journal, &mut written.out, at_ms, LogLevel::Info);
        }
        flush(&mut written.journal, &mut written.err, at_ms, LogLevel::Warn);
        std::mem::replace(&mut written.journal, Journal::new(0, 0))
    }

    fn write(&self, channel: Channel, bytes: &[u8]) -> Result<(), Fault> {
        self.budget.pass(bytes.len())?;
        let at_ms = self.at_ms();
        let mut guard = self.written();
        let Written { journal, out, err } = &mut *guard;
        if let (Channel::Out, Some(most)) = (channel, self.result_bytes) {
            let found = out.len() as u64 + bytes.len() as u64;
            if found > most {
                let message = format!("an answer may have {most} bytes; this one has {found} and more");
                return Err(Fault::new(FaultCode::ResultTooLarge, message));
            }
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let (begun, level) = match channel {
            Channel::Out => (out, LogLevel::Info),
            Channel::Err => (err, LogLevel::Warn),
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || begun.len() >= LINE {
                flush(journal, begun, at_ms, level);
            }
        }
        Ok(())
    }

    fn at_ms(&self) -> u64 {
        crate::meter::micros(self.began.elapsed()) / 1000
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush(journal: &mut Journal, begun: &mut Vec<u8>, at_ms: u64, level: LogLevel) {
    if begun.is_empty() {
        return;
    }
    let line = String::from_utf8_lossy(begun);
    journal.line(at_ms, level, line.strip_suffix('\n').unwrap_or(&line));
    begun.clear();
}

/// A stream of the console.
pub(super) struct Stream {
    console: Arc<Console>,
    channel: Channel,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Arc::clone(&self.console).channel(self.channel))
    }

    /// Asked for by WASI 0.3 alone, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::empty())
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.console.write(self.channel, &bytes).map_err(|fault| StreamError::Trap(fault.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(result: Option<u64>, bytes: u64) -> Console {
        Console::new(&Limits::default(), result, Instant::now(), Arc::new(Budget::new(bytes)))
    }

    fn lines(console: &Console) -> Vec<String> {
        console.finish().into_parts().0.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn pieces_become_lines() {
        let console = console(None, 1000);
        for piece in ["a", "b\nc", "\n", "d"] {
            console.write(Channel::Out, piece.as_bytes()).unwrap();
        }
        assert_eq!(lines(&console), ["ab", "c", "d"]);
    }

    #[test]
    fn a_flood_is_one_marker_and_a_full_budget_the_end() {
        let console = console(None, 1 << 20);
        let line = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<_>>();
        let end = (0..100_000).find_map(|_| console.write(Channel::Err, &line).err()).unwrap();
        assert_eq!(end.code, FaultCode::HostcallBytes);
        let lines = lines(&console);
        assert!(lines.len() <= 101 && lines.last().unwrap().starts_with("log truncated"), "{}", lines.len());
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_whole() {
        let console = console(None, 1 << 20);
        for _ in 0..100 {
            console.write(Channel::Out, &[b'x'; 1000]).unwrap();
        }
        assert!(console.written().out.len() < LINE);
    }

    #[test]
    fn a_result_is_no_log_and_has_its_limit() {
        let console = console(Some(5), 1000);
        console.write(Channel::Out, b"12345").unwrap();
        assert_eq!(console.write(Channel::Out, b"6").unwrap_err().code, FaultCode::ResultTooLarge);
        assert_eq!(console.take_result(), b"12345");
        assert!(lines(&console).is_empty());
    }
}
