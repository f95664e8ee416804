//! The way to a process that has the data directory open, whatever it does: a Unix socket in the directory, served by
//! whoever holds the directory's lock. One process at a time holds it, and commands side by side take turns; seeing and
//! stopping what runs must not wait for a turn.
//!
//! Who reaches the socket may use it: it is in a directory of mode 0700, has mode 0600, and takes only peers of the host's
//! own user, or root. That is who could end the process anyway; no root key is asked for. Nothing passes here but what is
//! in [`protocol`], and the gate decides who may do what.
//!
//! A socket's path may have some hundred bytes, a data directory's more: it is reached through the open directory, by
//! `/proc/self/fd`.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::PathBuf;

/// The socket's name in the data directory.
const SOCKET: &str = "control.sock";

/// The short path of `name` in an open directory.
fn path_in(dir: BorrowedFd<'_>, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}
