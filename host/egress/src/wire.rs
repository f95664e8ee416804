//! The connection's bytes, counted where the application meets them.
//!
//! Whether a request may have left decides whether a caller may try again, so it is counted and not guessed: a byte
//! counts as sent when the connection took it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream to a peer, plain or within TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Bytes a kept connection may be sent while it carries no request, such as the settings and pings of HTTP/2.
const MOST_IDLE: u64 = 4 << 10;

/// What the connections of one request moved for it, before TLS.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    request_sent: AtomicBool,
}

impl Traffic {
    /// Bytes the connection took.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes the connection gave.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// From now on the request counts as sent, as with HTTP/2, whose writes are not told apart.
    pub(crate) fn assume_request_sent(&self) {
        self.request_sent.store(true, Ordering::Relaxed);
    }

    /// Whether a byte of the request may have left.
    pub(crate) fn request_sent(&self) -> bool {
        self.request_sent.load(Ordering::Relaxed)
    }
}

/// For which request a connection moves bytes now.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Use>);

#[derive(Debug)]
enum Use {
    Request(Arc<Traffic>),
    /// For none; what it received since then.
    Idle(u64),
}

impl Default for Use {
    fn default() -> Self {
        Self::Idle(0)
    }
}

impl Meter {
    /// From now on bytes are this request's.
    pub(crate) fn charge(&self, traffic: &Arc<Traffic>) {
        *self.lock() = Use::Request(Arc::clone(traffic));
    }

    /// From now on they are nobody's, and few.
    pub(crate) fn rest(&self) {
        *self.lock() = Use::Idle(0);
    }

    /// Bytes sent so far for the request they are charged to.
    pub(crate) fn sent_for_request(&self) -> u64 {
        match &*self.lock() {
            Use::Request(traffic) => traffic.sent(),
            Use::Idle(_) => 0,
        }
    }

    fn sent(&self, count: u64, whole: bool) {
        if let Use::Request(traffic) = &*self.lock() {
            traffic.sent.fetch_add(count, Ordering::Relaxed);
            if whole {
                traffic.assume_request_sent();
            }
        }
    }

    /// Counts what was received; whether that many were to be.
    fn received(&self, count: u64) -> bool {
        match &mut *self.lock() {
            Use::Request(traffic) => {
                traffic.received.fetch_add(count, Ordering::Relaxed);
                true
            }
            Use::Idle(received) => {
                *received += count;
                *received <= MOST_IDLE
            }
        }
    }

    /// Each change of it is one assignment.
    fn lock(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that counts. With `whole` every byte written is the request's, as in HTTP/1.
pub(crate) struct Counted {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) whole: bool,
}

impl Counted {
    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count @ 1..)) = result {
            self.meter.sent(*count as u64, self.whole);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 && !self.meter.received(count as u64) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too much is said unasked")));
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
