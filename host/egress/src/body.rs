//! The body of an answer, read in pieces: decoded, counted, timed, scrubbed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::decode::Decoder;
use crate::exchange::Pace;
use crate::failure::HttpFailure;
use crate::hop::Lease;
use crate::record::{Entry, Verdict};
use crate::scrub::Pieces;

/// The most bytes one read returns.
pub const MAX_PIECE: u32 = 64 << 10;
/// Compressed bytes may exceed the decoded ones by this much: stored blocks, many small members.
const WIRE_SLACK: u64 = 64 << 10;

/// What bounds the reading of one body.
pub(crate) struct Bounds {
    /// Decoded bytes.
    pub(crate) bytes: u64,
    /// The name of the limit that these bytes come from.
    pub(crate) name: &'static str,
    /// The end of the whole exchange.
    pub(crate) deadline: Instant,
    pub(crate) pace: Pace,
}

/// An answer's body. Dropping it before its end closes the connection.
pub struct BodyStream {
    incoming: Option<(Incoming, Lease)>,
    decoder: Decoder,
    pieces: Pieces,
    bounds: Bounds,
    entry: Arc<Entry>,
    /// Received, not yet decoded.
    coded: Bytes,
    /// Decoded and scrubbed, not yet read.
    ready: Vec<u8>,
    taken: usize,
    wire: u64,
    decoded: u64,
    waited: Duration,
    /// Everything there is to read is in `ready`.
    ended: bool,
    failed: Option<HttpFailure>,
}

impl BodyStream {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Lease,
        decoder: Decoder,
        pieces: Pieces,
        bounds: Bounds,
        entry: Arc<Entry>,
    ) -> Self {
        let ended = incoming.is_end_stream();
        let incoming = if ended {
            lease.over();
            None
        } else {
            Some((incoming, lease))
        };
        Self {
            incoming,
            decoder,
            pieces,
            bounds,
            entry,
            coded: Bytes::new(),
            ready: Vec::new(),
            taken: 0,
            wire: 0,
            decoded: 0,
            waited: Duration::ZERO,
            ended,
            failed: None,
        }
    }

    /// The next piece: at least one byte and at most `max` (of 1 to [`MAX_PIECE`], whatever is asked), or nothing at
    /// the end. Safe to drop while it waits: nothing is lost.
    ///
    /// # Errors
    /// `Limit` when more bytes come than allowed, or too slowly; `TimedOut` at the end of the exchange's time; `Broken`
    /// when the connection or the coding breaks. The same failure again on every later read.
    pub async fn read(&mut self, max: u32) -> Result<Vec<u8>, HttpFailure> {
        while self.taken == self.ready.len() {
            if let Some(failure) = &self.failed {
                return Err(failure.clone());
            }
            if self.ended {
                return Ok(Vec::new());
            }
            self.ready.clear();
            self.taken = 0;
            if let Err((failure, detail)) = self.advance().await {
                self.entry.fail_with(&failure, detail);
                self.incoming = None;
                self.failed = Some(failure);
            }
        }
        let max = usize::try_from(max.clamp(1, MAX_PIECE)).unwrap_or(1);
        if self.taken == 0 && self.ready.len() <= max {
            return Ok(std::mem::take(&mut self.ready));
        }
        let end = self.ready.len().min(self.taken + max);
        let piece = self.ready[self.taken..end].to_vec();
        self.taken = end;
        Ok(piece)
    }

    /// One step: decode some of what came, or wait for more, or end.
    async fn advance(&mut self) -> Result<(), (HttpFailure, String)> {
        if self.coded.is_empty() {
            let Some(frame) = self.frame().await? else {
                self.release();
                self.ended = true;
                let rest = self.decoder.finish().map_err(|_| cut())?;
                self.pass(&rest)?;
                self.pieces.finish(&mut self.ready);
                self.entry.end(Verdict::Answered);
                return Ok(());
            };
            if self.incoming.as_ref().is_some_and(|(incoming, _)| incoming.is_end_stream()) {
                self.release();
            }
            self.wire += frame.len() as u64;
            if self.wire > self.bounds.bytes.saturating_add(WIRE_SLACK) {
                return Err(self.too_much());
            }
            // Frames that come more often than the pace is looked at must not escape it.
            self.in_pace()?;
            self.coded = frame;
        }
        if !self.coded.is_empty() {
            let coded = self.coded.clone();
            let (used, plain) = self.decoder.step(&coded).map_err(|_| cut())?;
            self.coded = self.coded.split_off(used);
            self.pass(&plain)?;
        }
        Ok(())
    }

    /// All of the answer was received: its connection is free.
    fn release(&mut self) {
        if let Some((_, lease)) = self.incoming.take() {
            lease.over();
        }
    }

    fn pass(&mut self, plain: &[u8]) -> Result<(), (HttpFailure, String)> {
        self.decoded += plain.len() as u64;
        if self.decoded > self.bounds.bytes {
            return Err(self.too_much());
        }
        self.pieces.push(plain, &mut self.ready);
        Ok(())
    }

    fn too_much(&self) -> (HttpFailure, String) {
        let name = self.bounds.name;
        (HttpFailure::Limit { name, sent: true }, format!("{name}: more than {} bytes", self.bounds.bytes))
    }

    fn in_pace(&self) -> Result<(), (HttpFailure, String)> {
        if self.bounds.pace.too_slow(self.wire, self.waited) {
            let name = crate::failure::limit::MIN_RATE;
            return Err((HttpFailure::Limit { name, sent: true }, format!("{name}: {} bytes", self.wire)));
        }
        Ok(())
    }

    /// The next data frame; trailers are dropped. `None` at the end.
    async fn frame(&mut self) -> Result<Option<Bytes>, (HttpFailure, String)> {
        loop {
            let Some((incoming, _)) = &mut self.incoming else { return Ok(None) };
            let event = if let Some(frame) = incoming.frame().now_or_never() {
                Some(frame)
            } else {
                let began = Instant::now();
                let look = self.bounds.deadline.min(began + self.bounds.pace.tick());
                let event = timeout_at(look, incoming.frame()).await.ok();
                self.waited += began.elapsed();
                event
            };
            if event.is_none() && Instant::now() >= self.bounds.deadline {
                return Err((HttpFailure::TimedOut { sent: true }, "while the body was read".to_owned()));
            }
            match event {
                Some(None) => return Ok(None),
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Some(Err(error))) => return Err((HttpFailure::Broken, error.to_string())),
                None => {}
            }
            self.in_pace()?;
        }
    }
}

fn cut() -> (HttpFailure, String) {
    (HttpFailure::Broken, "the answer's coding is broken".to_owned())
}
