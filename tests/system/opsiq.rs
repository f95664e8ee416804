//! Drives the built `opsiq` on a data directory of its own, the way a person or a script would.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use opsiq_gate::{Compiler, HostOptions};
use serde_json::Value;
use tempfile::TempDir;

/// The folder the binaries under test were built into, where this program is or, if it is a test, in its `deps`.
pub(crate) fn built() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.parent().unwrap();
    if folder.ends_with("deps") { folder.parent().unwrap().to_owned() } else { folder.to_owned() }
}

/// A binary of the workspace.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = built().join(name);
    assert!(path.exists(), "{} is missing: `make test` builds it first", path.display());
    path
}

/// A component built by `opsiq plugin build` before the tests.
pub(crate) fn guest(name: &str) -> PathBuf {
    let dir = std::env::var_os("OPSIQ_GUESTS").map_or_else(|| built().parent().unwrap().join("guests"), PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: `make test` builds it first", path.display());
    path
}

/// What one command left.
pub(crate) struct Ran {
    pub(crate) args: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(args: &[&str], out: Output) -> Self {
        Self {
            args: args.join(" "),
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }

    /// Runs a command that was made from these words, with something on its standard input.
    pub(crate) fn of_command(args: &[&str], mut command: Command, input: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A command that refuses before it reads closes the pipe; its answer says why.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self::of(args, child.wait_with_output().unwrap())
    }

    /// The envelope.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}) from {self:?}"))
    }

    /// The data of a command that must have gone well.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        self.json()["data"].take()
    }

    /// The error of a command that must have ended with `code`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let error = self.json()["error"].take();
        assert!(error["code"].is_string() && error["title"].is_string(), "{self:?}");
        error
    }
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "opsiq {} -> {}\n{}\n{}", self.args, self.code, self.stdout, self.stderr)
    }
}

/// A data directory, initialised, that goes away with the value.
pub(crate) struct World {
    dir: TempDir,
    data: PathBuf,
}

impl World {
    /// A new one in the machine's place for temporary files.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::at(dir, data)
    }

    /// A new one with its data elsewhere, such as on a file system of its own.
    pub(crate) fn at(dir: TempDir, data: PathBuf) -> Self {
        let world = Self { dir, data };
        world.run(&["init"]).ok();
        world
    }

    /// One that is not initialised.
    pub(crate) fn bare(dir: TempDir, data: PathBuf) -> Self {
        Self { dir, data }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// How a test opens the data directory itself: like the command, whose binary compiles for it.
    pub(crate) fn options(&self) -> HostOptions {
        HostOptions { compiler: Compiler::Child(binary("opsiq")), ..HostOptions::new(&self.data) }
    }

    /// A place for files of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        Self::command_on(&self.data, args)
    }

    /// The same on another data directory.
    pub(crate) fn command_on(data: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary("opsiq"));
        command.args(["--data", data.to_str().unwrap(), "-o", "json"]).args(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OPSIQ_")) {
            command.env_remove(name);
        }
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs one command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(args, self.command(args).output().unwrap())
    }

    /// Runs one command with something on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ran {
        Ran::of_command(args, self.command(args), input)
    }

    /// Starts one command and lets it run.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// The operator writes on in their config.
    pub(crate) fn configure(&self, more: &str) {
        let path = self.data.join("opsiq.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n{more}")).unwrap();
    }

    /// Opens one loopback port by the ceiling, as the demo shows it.
    pub(crate) fn open_loopback(&self, port: u16) {
        self.configure(&format!("[[ceiling.private-target]]\ncidr = \"127.0.0.1/32\"\nport = {port}\ntls = false\n"));
    }

    /// A tenant `acme` with the owner `ada`, a plugin registered, installed in full, and its keys set.
    pub(crate) fn install(&self, guest: &Path, name: &str, config: &[(&str, &str)], keys: &[(&str, &str)]) {
        if self.run(&["tenant", "list"]).ok().as_array().is_none_or(Vec::is_empty) {
            self.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
        }
        let registered = self.run(&["plugin", "register", guest.to_str().unwrap()]).ok();
        let plugin = registered["plugin"].as_str().unwrap_or_else(|| panic!("{registered}")).to_owned();
        let mut args = vec!["--as", "acme/ada", "connector", "install", &plugin, "--name", name, "--yes"];
        let config: Vec<String> = config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        for pair in &config {
            args.extend(["--config", pair]);
        }
        self.run(&args).ok();
        for (key, value) in keys {
            self.run_with(&["--as", "acme/ada", "key", "set", name, key, "--stdin"], value).ok();
        }
    }

    /// Calls an action as the owner.
    pub(crate) fn call(&self, installation: &str, action: &str, params: &Value) -> Ran {
        self.run(&["--as", "acme/ada", "action", "call", installation, action, "--params", &params.to_string()])
    }
}
