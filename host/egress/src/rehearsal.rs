//! A way out that leads nowhere: what stands in for the outside while a plugin is rehearsed.
//!
//! Only the network is replaced. Rules, headers, limits, redirects and addresses are decided by the code that decides
//! them in earnest; then, where a connection to a checked address would be made, there is a pipe in memory with an
//! [`Upstream`] at its other end. What crosses it is HTTP/1.1 as the host sends and reads it, so framing, sizes, codings
//! and breaks are the real ones too. Nothing here can dial.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use url::Url;

use crate::egress::{Protocol, Reached};
use crate::resolve::{Resolve, ResolveError};

/// Bytes the pipe holds in each direction.
const PIPE: usize = 64 << 10;
/// Header fields of a request, at most: more than any limit on the way here lets through.
const MAX_FIELDS: usize = 256;
/// Bytes of a request, at most.
const MAX_REQUEST: usize = 64 << 20;

/// What stands in for everything outside.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Answers one request, each hop of a redirect being one. Requests of one invocation come one after another, in the
    /// order in which they are sent.
    async fn answer(&self, request: Asked) -> Reply;
}

/// A request as it would have left: every decision about it is made, and the host's own headers are in it, injected ones
/// among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Where it would have gone.
    pub url: Url,
    /// The address it would have been sent to: one that stands for any name, or the literal of the URL.
    pub address: SocketAddr,
    /// Names in lower case and values, in order. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The body; empty when there is none.
    pub body: Vec<u8>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A whole answer.
    Whole(Answered),
    /// An answer whose connection breaks after so many bytes of the body.
    Cut(Answered, usize),
    /// Nothing, until the time for the exchange is over; it is over at once.
    Silence,
    /// Nothing, and the run ends here.
    End,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status, from 200 to 599.
    pub status: u16,
    /// Names and values, in order. What frames the body is left out: it is made for the body.
    pub headers: Vec<(String, String)>,
    /// The body, in the content coding that the headers name, if any.
    pub body: Vec<u8>,
}

/// Headers that say where a message ends, and so are made anew.
const FRAMING: &[&str] = &["connection", "content-length", "keep-alive", "transfer-encoding"];

/// The end of the way: pipes to one upstream.
pub(crate) struct Pipes {
    upstream: Arc<dyn Upstream>,
    ended: Arc<AtomicBool>,
}

impl Pipes {
    pub(crate) fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, ended: Arc::default() }
    }

    /// Whether the upstream ended the run.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// A connection as if to `address`, for one request to `url`.
    pub(crate) fn reach(&self, url: &Url, address: SocketAddr) -> Reached {
        let (near, far) = duplex(PIPE);
        let silent = Arc::new(AtomicBool::new(false));
        let end = FarEnd {
            upstream: Arc::clone(&self.upstream),
            ended: Arc::clone(&self.ended),
            silent: Arc::clone(&silent),
            url: url.clone(),
            address,
        };
        // Ends with the connection, whose near end is dropped with the request.
        tokio::spawn(async move {
            if let Err(error) = end.serve(far).await {
                tracing::debug!(%error, "a rehearsed connection ended");
            }
        });
        let tls = (url.scheme() == "https").then_some("TLS 1.3");
        Reached { stream: Box::new(Pipe { near, silent }), address, protocol: Protocol::Http1, tls }
    }
}

/// The host's end: where the other end keeps silent, reading is out of time.
struct Pipe {
    near: DuplexStream,
    silent: Arc<AtomicBool>,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.near).poll_read(cx, buffer);
        let over = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if over && self.silent.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}

/// The upstream's end of one connection.
struct FarEnd {
    upstream: Arc<dyn Upstream>,
    ended: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    url: Url,
    address: SocketAddr,
}

impl FarEnd {
    async fn serve(self, mut far: DuplexStream) -> io::Result<()> {
        let Some(asked) = self.read(&mut far).await? else { return Ok(()) };
        let head = asked.method == "HEAD";
        match self.upstream.answer(asked).await {
            Reply::Whole(answer) => {
                let whole = answer.body.len();
                write(&mut far, &answer, head, whole).await?;
            }
            Reply::Cut(answer, at) => write(&mut far, &answer, head, at).await?,
            Reply::Silence => self.silent.store(true, Ordering::Release),
            Reply::End => self.ended.store(true, Ordering::Release),
        }
        Ok(())
    }

    /// The request, or nothing when the host went away before its end.
    async fn read(&self, far: &mut DuplexStream) -> io::Result<Option<Asked>> {
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut received = Vec::new();
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut request = httparse::Request::new(&mut fields);
            let parsed = request.parse(&received).map_err(|_| invalid("no HTTP/1.1 request"))?;
            if let httparse::Status::Complete(body) = parsed {
                let headers: Vec<(String, String)> = request
                    .headers
                    .iter()
                    .map(|field| (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned()))
                    .collect();
                let length = headers.iter().find(|(name, _)| name == "content-length");
                let length = length.map_or(Ok(0), |(_, length)| length.parse::<usize>());
                let length = length.map_err(|_| invalid("no length"))?;
                if received.len() >= body + length {
                    return Ok(Some(Asked {
                        method: request.method.unwrap_or_default().to_owned(),
                        url: self.url.clone(),
                        address: self.address,
                        headers,
                        body: received[body..body + length].to_vec(),
                    }));
                }
            }
            if received.len() > MAX_REQUEST {
                return Err(invalid("a request larger than any limit"));
            }
            if far.read_buf(&mut received).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Writes an answer, with so many bytes of its body, and breaks off there when that is not all.
async fn write(far: &mut DuplexStream, answer: &Answered, head: bool, bytes: usize) -> io::Result<()> {
    let bodiless = head || matches!(answer.status, 204 | 304);
    let mut lines = vec![format!("HTTP/1.1 {} ", answer.status), "connection: close".to_owned()];
    let own = answer.headers.iter().filter(|(name, _)| !FRAMING.contains(&name.to_ascii_lowercase().as_str()));
    lines.extend(own.map(|(name, value)| format!("{name}: {value}")));
    if !matches!(answer.status, 204 | 304) {
        lines.push(format!("content-length: {}", answer.body.len()));
    }
    far.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes()).await?;
    if !bodiless {
        far.write_all(&answer.body[..bytes.min(answer.body.len())]).await?;
    }
    far.shutdown().await
}

/// Every name has one address, of the open internet. It is never dialled.
pub(crate) struct Anywhere;

/// What stands for the address of any name.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14));

#[async_trait]
impl Resolve for Anywhere {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(vec![ANYWHERE])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::classify;

    #[test]
    fn what_stands_for_any_name_is_an_address_that_would_be_dialled() {
        assert!(classify(ANYWHERE).is_global());
    }
}
