//! `opsiq.toml`, the operator's file in the data directory: the ceiling, and how long confirmations wait. A mistake in it
//! stops the start, with its line, because a misspelt ceiling would be no ceiling.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use opsiq_contract::{Ceiling, parse_time};
use serde::Deserialize;

use crate::refusal::{Class, Fault, Refusal, Stage};

/// The file's name.
pub(crate) const FILE: &str = "opsiq.toml";
/// The sections read here; the rest is the ceiling's.
const OWN: [&str; 2] = ["audit", "confirmation"];
/// How long a confirmation waits unless the file says otherwise: a day.
const CONFIRMATION_MS: i64 = 24 * 3600 * 1000;
/// Longest it may wait: thirty days.
const CONFIRMATION_MOST_MS: u64 = 30 * 24 * 3600 * 1000;
/// Longer files are none of ours.
const MOST: u64 = 1 << 20;

const DEFAULT: &str = r#"# What the operator decides for every tenant. Everything here is optional; what is not said keeps its default.
# A change counts from the next start. Check it with: opsiq ceiling check

# How long a risky write waits for a person before it expires: 1s to 43200min.
# [confirmation]
# expires-after = "1440min"

# Where signed checkpoints are kept, outside the database; by default beside the data directory. On another volume, a
# volume that is put back as a whole is noticed as well.
# [audit]
# checkpoints = "/var/lib/opsiq/checkpoints"

# What any plugin may use at most. Limits may be raised above the defaults here, and only here.
# [ceiling]
# component = "16MiB"      # 24MiB for plugins in Python
# compile = "10s"          # 2min for those
#
# [ceiling.limits]
# memory = "64MiB"
# cpu = "250ms"
# wall = "30s"

# A private address that plugins may reach: exact network and port. Without an entry, none is.
# [[ceiling.private-target]]
# cidr = "127.0.0.1/32"
# port = 8080
# tls = false            # allow plain http to it

# One plugin, whatever its version.
# [ceiling.plugin."publisher/id"]
# denied = true
# wasi = true              # it may be a component made for WASI, run in compatibility mode
"#;

/// What the file says beside the ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a confirmation waits, in milliseconds.
    pub(crate) confirmation_ms: i64,
    /// Where checkpoints are kept, if not beside the data directory.
    pub(crate) checkpoints: Option<PathBuf>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    confirmation: Confirmation,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Audit {
    checkpoints: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Confirmation {
    expires_after: Option<String>,
}

/// Reads the file; a missing one says nothing.
pub(crate) fn load(dir: &Dir) -> Result<(Ceiling, Settings), Refusal> {
    let mut text = String::new();
    match dir.open(FILE) {
        Ok(file) => {
            let read = file.take(MOST).read_to_string(&mut text);
            read.map_err(|error| failed("read", &error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &error)),
    }
    parse(&text)
}

/// Writes the commented default, unless there is a file.
pub(crate) fn write_default(dir: &Dir) -> Result<(), Refusal> {
    match dir.open_with(FILE, OpenOptions::new().write(true).create_new(true).mode(0o600)) {
        Ok(mut file) => {
            let written = file.write_all(DEFAULT.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(|error| failed("written", &error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("written", &error)),
    }
}

/// The ceiling that an `opsiq.toml` with this text would set. Uses nothing and changes nothing.
///
/// # Errors
/// Everything wrong with the text, by line.
pub fn read_config(text: &str) -> Result<Ceiling, Refusal> {
    parse(text).map(|(ceiling, _)| ceiling)
}

fn parse(text: &str) -> Result<(Ceiling, Settings), Refusal> {
    let ceiling = Ceiling::parse_toml(text, &OWN).map_err(|errors| {
        let faults = errors.0.iter().map(|error| Fault { path: FILE.to_owned(), message: error.to_string() });
        invalid(faults.collect())
    })?;
    let one = |message: String| invalid(vec![Fault { path: FILE.to_owned(), message }]);
    let file: File = toml::from_str(text).map_err(|error| one(error.to_string()))?;
    let confirmation_ms = match &file.confirmation.expires_after {
        None => CONFIRMATION_MS,
        Some(text) => parse_time(text)
            .filter(|ms| (1000..=CONFIRMATION_MOST_MS).contains(ms))
            .and_then(|ms| i64::try_from(ms).ok())
            .ok_or_else(|| {
                let most = CONFIRMATION_MOST_MS / 60_000;
                one(format!("[confirmation] expires-after: must be a time from 1s to {most}min, such as \"1440min\""))
            })?,
    };
    let checkpoints = file.audit.checkpoints;
    if checkpoints.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(one("[audit] checkpoints: must be an absolute path".to_owned()));
    }
    Ok((ceiling, Settings { confirmation_ms, checkpoints }))
}

fn invalid(faults: Vec<Fault>) -> Refusal {
    let message = "the operator's configuration has mistakes";
    Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "config.file",
        message,
        "correct the file; opsiq ceiling check reads it again",
    )
    .with_faults(faults)
}

fn failed(what: &str, error: &std::io::Error) -> Refusal {
    let message = format!("{FILE} cannot be {what}: {}", error.kind());
    Refusal::new(Class::Unavailable, Stage::Admin, "config.unreadable", message, "see opsiq doctor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_says_the_defaults() {
        let (ceiling, settings) = parse(DEFAULT).unwrap();
        assert_eq!(ceiling, Ceiling::default());
        assert_eq!(settings, Settings { confirmation_ms: CONFIRMATION_MS, checkpoints: None });
    }

    #[test]
    fn its_examples_are_valid() {
        let lines = DEFAULT.lines().filter_map(|line| line.strip_prefix("# "));
        let code: Vec<_> = lines.filter(|line| line.starts_with('[') || line.contains(" = ")).collect();
        let (ceiling, settings) = parse(&code.join("\n")).unwrap();
        assert_eq!(settings.confirmation_ms, CONFIRMATION_MS);
        assert_eq!(ceiling.private_targets.len(), 1);
        assert!(ceiling.plugins["publisher/id"].denied);
    }

    #[test]
    fn a_mistake_stops_the_start_with_its_line() {
        for (text, says) in [
            ("[ceilling]\n", "1:"),
            ("[ceiling]\ncpu = 1\n", "2:"),
            ("[confirmation]\nexpires = \"1h\"\n", "2"),
            ("[confirmation]\nexpires-after = \"43201min\"\n", "expires-after"),
            ("[confirmation]\nexpires-after = \"0s\"\n", "expires-after"),
            ("[audit]\ncheckpoints = \"elsewhere\"\n", "absolute"),
            ("[audit]\nkept = \"/elsewhere\"\n", "2"),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.code, "config.file");
            assert!(refusal.faults[0].message.contains(says), "{text}: {refusal}");
        }
    }
}
