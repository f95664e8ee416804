//! What a process must not leave behind or show, set before it reads anything secret: no core file, and no memory, open
//! files or environment (`/proc/PID/…`) for other processes of the same user, which then belong to root alone. That is also
//! what keeps a root key that came in the environment; programs started from here do not inherit it.

use std::panic;
use std::process::Command;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::failure::{Exit, Failure};

/// What every variable begins with that holds a root key, or the PIN of a token that opens it.
const ROOT_KEYS: &str = "OPSIQ_ROOT";

/// Shuts the process. Whoever cannot do that shall hold no key.
pub(crate) fn shut() -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| {
        Failure::new(Exit::Unavailable, "process.open", "this process cannot be kept from leaving a core file")
            .detail(error.to_string())
    };
    // Before: afterwards only root can open it.
    opsiq_gate::open_page_map();
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    // Only where: what a panic says may quote what was at hand.
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        crate::output::say(&format!("opsiq panicked{at}: a fault of the host, please report it"));
    }));
    Ok(())
}

/// A program to start, without any root key in its environment.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with(ROOT_KEYS)) {
        command.env_remove(name);
    }
    command
}
