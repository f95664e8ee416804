//! Serving the socket, for as long as this process holds the data directory.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use opsiq_gate::Host;
use rustix::fs::{AtFlags, Mode, chmodat, renameat, unlinkat};
use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::protocol::{REQUEST_MOST, Request, answer_line};
use super::{SOCKET, path_in};
use crate::failure::{Exit, Failure};

/// The socket under the name it has until it can be used.
const NEW: &str = "control.sock.new";
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// How long a request may take to arrive, and an answer to be taken.
const PASS_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take to be made. A stop waits a second for calls to end; the rest is the disk's.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long ending waits for answers that are being made.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The served socket.
#[derive(Debug)]
pub(crate) struct Server {
    dir: OwnedFd,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `host`, whose lock makes a socket that is there already one that a process left behind.
    pub(crate) fn start(host: &Host) -> io::Result<Self> {
        let dir = host.dir().try_clone_to_owned()?;
        let _ = unlinkat(&dir, NEW, AtFlags::empty());
        let listener = UnixListener::bind(path_in(dir.as_fd(), NEW))?;
        chmodat(&dir, NEW, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        renameat(&dir, NEW, &dir, SOCKET)?;
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(accept(listener, host.clone(), ended));
        Ok(Self { dir, end, task })
    }

    /// Takes the socket away, while the lock is still held, and ends. Answers that are being made are waited for.
    pub(crate) async fn end(self) {
        let _ = unlinkat(&self.dir, SOCKET, AtFlags::empty());
        // It is gone only when the task is.
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn accept(listener: UnixListener, host: Host, mut ended: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut ended => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            came = listener.accept(), if connections.len() < CONNECTIONS => match came {
                Ok((stream, _)) => {
                    let host = host.clone();
                    connections.spawn(async move {
                        // Who does not listen any more cannot be told.
                        let _ = serve(stream, &host).await;
                    });
                }
                // Out of descriptors, for one: there will be some again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(END_WITHIN, rest).await;
}

/// One request and its answer.
async fn serve(mut stream: UnixStream, host: &Host) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != geteuid().as_raw() {
        return Ok(());
    }
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let mut request = BufReader::new(read.take(REQUEST_MOST as u64));
    timeout(PASS_WITHIN, request.read_until(b'\n', &mut line)).await??;
    let answer = match Request::read(&line) {
        Ok(request) => timeout(ANSWER_WITHIN, request.answer(host)).await.unwrap_or_else(|_| Err(late())),
        Err(failure) => Err(failure),
    };
    timeout(PASS_WITHIN, write.write_all(answer_line(answer).as_bytes())).await??;
    write.shutdown().await
}

fn late() -> Failure {
    Failure::new(Exit::Unavailable, "control.late", "the host did not answer in time").fix("see opsiq sandbox list")
}
