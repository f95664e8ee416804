//! A compiler for `wasm32-unknown-unknown`, found or explained.
//!
//! Four ways, in this order: the `rustc` in reach already has the target; `rustup` can add it; Debian's
//! `rustc-web`, whose standard library is built from `rust-web-src` along with the plugin; else an error that lists
//! what was tried and what to install.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::{BuildError, Tried};
use crate::hygiene::program;

/// The target every plugin is compiled for: no operating system, so nothing can ask for one.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// How long `rustup target add` may take; the download is about 30 MiB.
const ADD_TIMEOUT: Duration = Duration::from_secs(90);

const RUSTUP: &str = "rustc with the target";
const ADD: &str = "rustup target add";
const DEBIAN: &str = "Debian's rustc-web";

/// Which compiler to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Choice {
    /// The first that serves.
    #[default]
    Auto,
    /// The `cargo` and `rustc` in reach, which rustup may complete.
    Rustup,
    /// Debian's `cargo-web` and `rustc-web`, with the standard library built from source.
    Debian,
}

/// A compiler that can build a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// `cargo` in reach has a ready standard library for the target.
    Ready {
        /// The sysroot of its compiler.
        sysroot: PathBuf,
    },
    /// The standard library is compiled too.
    Debian {
        /// Debian's cargo.
        cargo: PathBuf,
        /// Debian's compiler.
        rustc: PathBuf,
        /// A linker that makes WebAssembly.
        linker: PathBuf,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { sysroot } => match sysroot.file_name() {
                Some(name) if sysroot.parent().is_some_and(|parent| parent.ends_with("toolchains")) => {
                    write!(f, "rustup's {}", name.display())
                }
                _ => write!(f, "the compiler in {}", sysroot.display()),
            },
            Self::Debian { .. } => f.write_str("Debian's rustc-web, standard library included"),
        }
    }
}

impl Toolchain {
    /// The program that builds.
    pub(super) fn cargo(&self) -> &Path {
        match self {
            Self::Ready { .. } => Path::new("cargo"),
            Self::Debian { cargo, .. } => cargo,
        }
    }

    /// Cargo with the user's own settings, to be asked about the crate.
    pub(super) fn cargo_for_metadata(&self, dir: &Path) -> Command {
        let mut command = program(self.cargo());
        command.current_dir(dir).stdin(Stdio::null());
        if let Self::Debian { rustc, .. } = self {
            command.env_remove("RUSTUP_TOOLCHAIN").env("RUSTC", rustc);
        }
        command
    }

    /// Cargo ready to build for the target, free of what the environment says about compilers, flags and profiles.
    pub(super) fn cargo_for_build(&self, dir: &Path) -> Command {
        let mut command = program(self.cargo());
        command.current_dir(dir).stdin(Stdio::null());
        scrub(&mut command);
        command.args(["build", "--target", TARGET]);
        if let Self::Debian { rustc, linker, .. } = self {
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTC", rustc)
                .env_remove("RUSTUP_TOOLCHAIN")
                .arg("-Zbuild-std=std,panic_abort")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// Where the sources of the standard library lie, as compiled-in panic locations would show them.
    pub(super) fn std_source(&self) -> Option<PathBuf> {
        match self {
            Self::Ready { .. } => None,
            Self::Debian { .. } => Path::new("/usr/lib/rustlib/src/rust").canonicalize().ok(),
        }
    }
}

/// Takes away every variable that would change what is compiled. Left are those about the network, registries,
/// colours and the number of jobs.
fn scrub(command: &mut Command) {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRY_",
        "CARGO_REGISTRIES_",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
        "CARGO_CACHE_",
    ];
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let about_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        let about_rustc =
            matches!(name, "RUSTC" | "RUSTC_BOOTSTRAP" | "RUSTC_LINKER" | "RUSTFLAGS" | "MAKEFLAGS" | "MFLAGS");
        if about_cargo || about_rustc {
            command.env_remove(name);
        }
    }
}

/// Finds a compiler for a crate in `dir`.
///
/// # Errors
/// [`BuildError::NoToolchain`] with everything that was tried.
pub(super) fn find(
    dir: &Path,
    choice: Choice,
    offline: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Toolchain, BuildError> {
    let mut tried = Vec::new();
    if choice != Choice::Debian {
        match ready(dir) {
            Ok(toolchain) => return Ok(toolchain),
            Err(why) => tried.push(Tried { way: RUSTUP, why }),
        }
        match add(dir, offline, progress).and_then(|()| ready(dir)) {
            Ok(toolchain) => return Ok(toolchain),
            Err(why) => tried.push(Tried { way: ADD, why }),
        }
    }
    if choice != Choice::Rustup {
        match debian(Path::new("/usr")) {
            Ok(toolchain) => return Ok(toolchain),
            Err(why) => tried.push(Tried { way: DEBIAN, why }),
        }
    }
    Err(BuildError::NoToolchain(tried))
}

/// The `rustc` in reach, if it has the target.
fn ready(dir: &Path) -> Result<Toolchain, String> {
    let sysroot = sysroot(Path::new("rustc"), dir)?;
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        Ok(Toolchain::Ready { sysroot })
    } else {
        Err(format!("{} has no {TARGET}", sysroot.display()))
    }
}

/// Asks a compiler where its libraries are. `dir` decides which one rustup picks.
fn sysroot(rustc: &Path, dir: &Path) -> Result<PathBuf, String> {
    let output = program(rustc)
        .args(["--print", "sysroot"])
        .current_dir(dir)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", rustc.display()))?;
    if !output.status.success() {
        return Err(first_line(&output.stderr));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Lets rustup add the target, within [`ADD_TIMEOUT`].
fn add(dir: &Path, offline: bool, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    if offline {
        return Err("not tried: --offline".into());
    }
    progress(&format!("Adding {TARGET} with rustup"));
    let mut child = program("rustup")
        .args(["target", "add", TARGET])
        .current_dir(dir)
        .env("RUSTUP_MAX_RETRIES", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run rustup: {error}"))?;
    // Read beside the wait, so that a talkative rustup cannot fill the pipe and stand still.
    let said = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stderr, &mut text);
            text
        })
    });
    let deadline = Instant::now() + ADD_TIMEOUT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no end after {} s", ADD_TIMEOUT.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = said.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Err(error_line(&said))
}

/// Debian's compiler under `prefix` (`/usr`), if all its parts are there.
fn debian(prefix: &Path) -> Result<Toolchain, String> {
    let cargo = prefix.join("bin/cargo");
    let rustc = prefix.join("bin/rustc");
    let source = prefix.join("lib/rustlib/src/rust/library/std/Cargo.toml");
    for (path, package) in [(&rustc, "rustc-web"), (&cargo, "cargo-web"), (&source, "rust-web-src")] {
        if !path.exists() {
            return Err(format!("{package} is not installed ({} is missing)", path.display()));
        }
    }
    let linker =
        linker(&rustc).ok_or("no linker for WebAssembly (rust-lld of rustup, or wasm-ld of the package lld)")?;
    Ok(Toolchain::Debian { cargo, rustc, linker })
}

/// A linker that makes WebAssembly: rustup's or Debian's own `rust-lld`, else `wasm-ld` in reach or of an LLVM
/// package.
fn linker(rustc: &Path) -> Option<PathBuf> {
    let here = Path::new(".");
    let bundled = [Path::new("rustc"), rustc].into_iter().filter_map(|rustc| {
        let sysroot = sysroot(rustc, here).ok()?;
        Some(sysroot.join("lib/rustlib").join(host(rustc)?).join("bin/rust-lld"))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path =
        std::env::split_paths(&path).flat_map(|dir| [dir.join("rust-lld"), dir.join("wasm-ld")]).collect::<Vec<_>>();
    let mut llvm = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"))
        .map(|entry| entry.path().join("bin/wasm-ld"))
        .collect::<Vec<_>>();
    llvm.sort();
    bundled.chain(in_path).chain(llvm.into_iter().rev()).find(|path| path.is_file())
}

/// The host triple of a compiler, from `rustc -vV`.
fn host(rustc: &Path) -> Option<String> {
    let output = program(rustc).arg("-vV").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or("it failed without a word").to_owned()
}

/// The line in which rustup says what is wrong, among its progress.
fn error_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().find(|line| line.starts_with("error")).or_else(|| text.lines().last());
    line.unwrap_or("it failed without a word").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
