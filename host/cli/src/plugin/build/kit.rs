//! The programs that turn JavaScript and Python into components: fetched once, at pinned versions, into a cache folder of
//! the user's.
//!
//! The language's own client fetches them from the registry it is set to, and checks each file against the hash that is
//! written here, so a cache holds nothing else; no code of theirs runs while they are installed. A folder is made aside and
//! renamed when it is whole: what is there is complete, whoever made it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use opsiq_contract::Digest;

use super::error::BuildError;
use crate::hygiene::program;

/// Where caches lie, when the user says so.
const CACHE: &str = "OPSIQ_CACHE";

/// A set of programs.
pub(super) struct Kit<'a> {
    /// In words, with their versions.
    pub(super) name: &'static str,
    /// The folder's name begins so.
    pub(super) folder: &'static str,
    /// The interpreter they need.
    pub(super) interpreter: &'static str,
    /// How to get that.
    pub(super) get: &'static str,
    /// Files that lie in the folder beforehand: the pins among them.
    pub(super) files: &'a [(&'a str, &'a str)],
    /// The command that installs, run inside the folder.
    pub(super) install: &'a [&'a str],
}

impl Kit<'_> {
    /// The folder with the programs, made where it is not there yet.
    ///
    /// # Errors
    /// [`BuildError::NoKit`] says what is missing and how to get it.
    pub(super) fn ready(&self, offline: bool, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
        let missing = |why: String, fix: String| BuildError::NoKit { what: self.name, why, fix };
        for name in [self.interpreter, self.install[0]] {
            if tool(name).arg("--version").output().is_err() {
                return Err(missing(format!("there is no `{name}`"), self.get.to_owned()));
            }
        }
        let caches = caches().ok_or_else(|| {
            missing("there is no home directory to keep it in".into(), format!("set {CACHE} to a folder"))
        })?;
        let folder = caches.join(format!("{}-{}", self.folder, self.fingerprint()));
        if folder.is_dir() {
            return Ok(folder);
        }
        if offline {
            let why = format!("it is not in {}, and --offline fetches nothing", folder.display());
            return Err(missing(why, "run the same command once without --offline".into()));
        }
        progress(&format!("Fetching {} once, into {}", self.name, folder.display()));
        std::fs::create_dir_all(&caches).map_err(|error| BuildError::io("create", &caches, error))?;
        let draft = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.folder))
            .tempdir_in(&caches)
            .map_err(|error| BuildError::io("create a folder in", &caches, error))?;
        for (name, text) in self.files {
            let path = draft.path().join(name);
            std::fs::write(&path, text).map_err(|error| BuildError::io("write", &path, error))?;
        }
        let output = tool(self.install[0])
            .args(&self.install[1..])
            .current_dir(draft.path())
            .output()
            .map_err(|error| BuildError::io("run", Path::new(self.install[0]), error))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let why = format!("`{}` failed ({})\n{}", self.install.join(" "), output.status, tail(&said));
            return Err(missing(why, "see whether the registry can be reached, and run the command again".into()));
        }
        let made = draft.keep();
        if let Err(error) = std::fs::rename(&made, &folder) {
            let _ = std::fs::remove_dir_all(&made);
            // Somebody else was faster: theirs is the same.
            if !folder.is_dir() {
                return Err(BuildError::io("create", &folder, error));
            }
        }
        Ok(folder)
    }

    /// Changes with every pin, so that a new version of the host never runs old programs.
    fn fingerprint(&self) -> String {
        let all = self.files.iter().flat_map(|(name, text)| [*name, *text]).chain(self.install.iter().copied());
        let all = all.collect::<Vec<_>>().join("\0");
        Digest::of(all.as_bytes()).to_string().trim_start_matches("sha256:").chars().take(12).collect()
    }
}

/// The folder of all kits.
fn caches() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(CACHE)
        .or_else(|| Some(set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("opsiq")))
}

/// A program of a kit, free of what the environment says about how its language runs.
pub(super) fn tool(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = program(name);
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("NODE_") && name != "NODE_EXTRA_CA_CERTS"
            || name.starts_with("PYTHON")
            || matches!(name, "VIRTUAL_ENV" | "RUST_BACKTRACE" | "RUST_LIB_BACKTRACE")
        {
            command.env_remove(name);
        }
    }
    command
}

/// The end of what a program said, where the reason mostly stands.
pub(super) fn tail(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines = text.trim_end().lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIT: Kit<'_> = Kit {
        name: "a kit",
        folder: "kit",
        interpreter: "true",
        get: "install it",
        files: &[("pins", "a 1")],
        install: &["true"],
    };

    #[test]
    fn another_pin_is_another_folder() {
        let other = Kit { files: &[("pins", "a 2")], ..KIT };
        assert_eq!(KIT.fingerprint().len(), 12);
        assert_ne!(KIT.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let kit = Kit { interpreter: "no-such-interpreter", ..KIT };
        match kit.ready(true, &mut |_| {}) {
            Err(BuildError::NoKit { why, fix, .. }) => {
                assert!(why.contains("no-such-interpreter") && fix == "install it");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_end_is_told() {
        let said = (0..50).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(said.as_bytes()).starts_with("20\n") && tail(b"").is_empty());
    }
}
