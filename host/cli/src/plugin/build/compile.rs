//! From crate to core module, under settings of our own.
//!
//! The user's `Cargo.toml` and environment decide nothing that changes the result: the profile is given whole on the
//! command line, flags are ours, and machine paths are rewritten, so that the same sources give the same digest
//! elsewhere. All plugins of a workspace share one target directory, and with it one build of the standard library.

use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::Options;
use super::error::BuildError;
use super::project::Project;
use super::toolchain::{TARGET, Toolchain};

/// The profile's name; cargo keeps its output apart from the user's own builds.
const PROFILE: &str = "opsiq-plugin";

/// What the profile says: small, one unit, no unwinding (a panic is a trap).
const SETTINGS: [&str; 9] = [
    "inherits = \"release\"",
    "opt-level = \"s\"",
    "lto = true",
    "codegen-units = 1",
    "panic = \"abort\"",
    "debug = false",
    "debug-assertions = false",
    "overflow-checks = true",
    "incremental = false",
];

/// Bytes of stack. Less than the linker's 1 MiB, so that stack, data and the SDK's arena together stay within what
/// the host keeps resident; the stack lies first in memory, so running out of it traps instead of overwriting data.
const STACK_BYTES: u32 = 256 * 1024;

/// A message of `cargo build --message-format=json`; all but the artifacts are skipped.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// A core module.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Where it is.
    pub(super) module: PathBuf,
    /// The compiler's warnings.
    pub(super) remarks: String,
}

/// Compiles the crate to a core module.
///
/// # Errors
/// [`BuildError::Program`] with the compiler's own output.
pub(super) fn compile(project: &Project, toolchain: &Toolchain, options: &Options) -> Result<Compiled, BuildError> {
    let dir = project.manifest.parent().unwrap_or(Path::new("."));
    let mut command = toolchain.cargo_for_build(dir);
    command
        .args(["--lib", "--message-format=json-render-diagnostics", "--profile", PROFILE, "--manifest-path"])
        .arg(&project.manifest)
        .arg("--target-dir")
        .arg(project.target_dir.join("opsiq-plugin"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags(project, toolchain).join("\u{1f}"));
    for setting in SETTINGS {
        command.arg("--config").arg(format!("profile.{PROFILE}.{setting}"));
    }
    let strip = if options.names { "debuginfo" } else { "symbols" };
    command.arg("--config").arg(format!("profile.{PROFILE}.strip = \"{strip}\""));
    for (wanted, flag) in [(options.offline, "--offline"), (options.locked, "--locked")] {
        if wanted {
            command.arg(flag);
        }
    }

    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| BuildError::io("run", toolchain.cargo(), error))?;
    let artifacts = child.stdout.take().map(|stdout| {
        let manifest = project.manifest.clone();
        std::thread::spawn(move || module_of(BufReader::new(stdout), &manifest))
    });
    let mut output = String::new();
    let said = child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut output));
    let status = child.wait().map_err(|error| BuildError::io("wait for", toolchain.cargo(), error))?;
    said.map_err(|error| BuildError::io("listen to", toolchain.cargo(), error))?;
    let remarks = remarks(&output);
    match artifacts.and_then(|reader| reader.join().ok()).flatten() {
        Some(module) if status.success() => Ok(Compiled { module, remarks }),
        _ => Err(BuildError::Program {
            what: format!("compiling {}", project.package),
            status: status.to_string(),
            output: remarks,
        }),
    }
}

/// What cargo said, without its lists of what it compiled and fetched.
fn remarks(output: &str) -> String {
    const DOING: [&str; 12] = [
        "Adding",
        "Blocking",
        "Compiling",
        "Downloaded",
        "Downloading",
        "Finished",
        "Fresh",
        "Locking",
        "Updating",
        "Building",
        "Checking",
        "Running",
    ];
    let is_list = |line: &str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        line.starts_with("  ") && DOING.contains(&first)
    };
    let kept = output.lines().filter(|line| !is_list(line)).collect::<Vec<_>>();
    kept.join("\n").trim().to_owned()
}

/// The module among cargo's messages that the crate itself made. Reads to the end, since cargo fails when nobody
/// listens any more.
fn module_of(messages: impl BufRead, manifest: &Path) -> Option<PathBuf> {
    messages
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Message>(&line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .last()
}

/// The compiler's flags: the stack's size, and no path of this machine in panic messages.
fn flags(project: &Project, toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}")];
    let mut remap = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(&project.root, "plugin");
    if let Some(home) = cargo_home() {
        remap(&home.join("registry/src"), "registry");
        remap(&home.join("git/checkouts"), "git");
    }
    if let Some(source) = toolchain.std_source() {
        remap(&source, "rust");
    }
    debug_assert!(!flags.iter().any(|flag| flag.contains('\u{1f}')), "the separator of flags for {TARGET}");
    flags
}

/// Where cargo keeps what it downloads: `CARGO_HOME`, else `~/.cargo`.
fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

#[cfg(test)]
mod tests;
