//! Asking the process that has the data directory.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{ANSWER_MOST, Request, read_answer};
use super::{SOCKET, path_in};
use crate::failure::{Exit, Failure};

/// How long a whole exchange may take: longer than the other side gives itself.
const WITHIN: Duration = Duration::from_secs(40);

/// The answer of the process that has the directory at `data`; `None` when nobody serves it, or stopped to meanwhile.
pub(crate) async fn ask(data: &Path, request: &Request) -> Result<Option<Value>, Failure> {
    let line = request.line()?;
    let exchanged =
        timeout(WITHIN, exchange(data, &line)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match exchanged {
        Ok(Some(answer)) => read_answer(&answer).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(Failure::new(
            Exit::Unavailable,
            "control.unreachable",
            "the process that has the data directory cannot be reached",
        )
        .detail(error.to_string())
        .fix("as the user it runs as, or root; `lock` in the data directory holds its process id")),
    }
}

async fn exchange(data: &Path, line: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // What is wrong with the directory, whoever opens it says better.
    let Ok(dir): Result<OwnedFd, _> = open(data, flags, Mode::empty()) else { return Ok(None) };
    let mut stream = match UnixStream::connect(path_in(dir.as_fd(), SOCKET)).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            // Nobody; or one that begins, ends, or has as many connections as it takes.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => return Ok(None),
            _ => return Err(error),
        },
    };
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != geteuid().as_raw() && geteuid().as_raw() != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user serves the socket"));
    }
    let mut answer = Vec::new();
    let passed = async {
        stream.write_all(line.as_bytes()).await?;
        stream.take(ANSWER_MOST as u64).read_to_end(&mut answer).await
    };
    match passed.await {
        Ok(_) => Ok((!answer.is_empty()).then_some(answer)),
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(None),
        Err(error) => Err(error),
    }
}
