//! A connection whose peer must go on taking what it is sent. Without this, a client that asks for much and reads nothing
//! holds its answer's memory for as long as it likes.
//!
//! One that ends while its peer still sends takes a little more, and drops it. A socket closed with bytes unread resets
//! the connection, and a reset takes the refusal with it that the peer should have seen (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long an ended connection is read from, and how many bytes of it, before it is closed for good.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// `inner`, which fails once nothing could be written for `most`.
#[derive(Debug)]
pub(crate) struct Patient<T> {
    inner: T,
    most: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once we have said our last, with the bytes that may still come.
    ending: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T> Patient<T> {
    pub(crate) fn new(inner: T, most: Duration) -> Self {
        Self { inner, most, stalled: None, ending: None }
    }

    /// Lets a write that moved go on, and ends one that did not in time.
    fn judge<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let most = self.most;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(most)));
        if stalled.deadline() <= Instant::now() || stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_none() {
            let polled = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.judge(cx, polled))?;
        }
        let (until, most) = this.ending.get_or_insert_with(|| (Box::pin(sleep(LINGER)), LINGER_BYTES));
        let mut dropped = [0; 4096];
        while *most > 0 && until.as_mut().poll(cx).is_pending() {
            let mut dropped = ReadBuf::new(&mut dropped);
            // An end, and an error too, says that nothing more comes.
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() => *most = most.saturating_sub(dropped.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_and_who_is_slow_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = Patient::new(ours, Duration::from_millis(200));
        let slow = tokio::spawn(async move {
            let mut taken = [0; 64];
            for _ in 0..10 {
                sleep(Duration::from_millis(50)).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
            theirs
        });
        ours.write_all(&[0; 640]).await.unwrap();
        let _open = slow.await.unwrap();
        let ended = ours.write_all(&[0; 640]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_still_sends_is_heard_out_for_a_while() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = Patient::new(ours, Duration::from_millis(200));
        let sending = tokio::spawn(async move {
            theirs.write_all(&[0; 64 << 10]).await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            answer
        });
        ours.write_all(b"no").await.unwrap();
        ours.shutdown().await.unwrap();
        assert_eq!(sending.await.unwrap(), b"no");

        let (ours, mut theirs) = tokio::io::duplex(64);
        let endless = tokio::spawn(async move { while theirs.write_all(&[0; 64]).await.is_ok() {} });
        let mut ours = Patient::new(ours, Duration::from_millis(200));
        ours.shutdown().await.unwrap();
        drop(ours);
        endless.await.unwrap();
    }
}
