//! The install root key on its way in: from a file that nobody else can read, or from text.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use opsiq_vault::RootKey;
use zeroize::Zeroizing;

use crate::host::RootSource;
use crate::refusal::{Class, Refusal, Stage};

/// Longer files are no root key.
const MOST: u64 = 4096;

/// The root key, and its file when it came from one.
pub(crate) fn load(source: &RootSource) -> Result<(RootKey, Option<PathBuf>), Refusal> {
    match source {
        RootSource::File(path) => Ok((read(path)?, Some(path.clone()))),
        RootSource::Text(text) => {
            let text = std::str::from_utf8(text.expose()).unwrap_or_default();
            Ok((parse(text, "the root key given")?, None))
        }
    }
}

/// The same, making the file when there is none. Answers the path only when it was made now.
pub(crate) fn load_or_make(source: &RootSource) -> Result<(RootKey, Option<PathBuf>), Refusal> {
    match source {
        RootSource::File(path) if !path.exists() => {
            let key = RootKey::generate();
            write(path, &key).map_err(|error| failed(path, "cannot be written", &error))?;
            Ok((key, Some(path.clone())))
        }
        source => Ok((load(source)?.0, None)),
    }
}

fn read(path: &Path) -> Result<RootKey, Refusal> {
    let cannot = |error: std::io::Error| failed(path, "cannot be read", &error);
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "root.exposed",
            format!("the root key's file {} has mode {mode:o}: others may read it", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MOST).read_to_string(&mut text).map_err(cannot)?;
    parse(&text, &format!("the file {}", path.display()))
}

fn parse(text: &str, what: &str) -> Result<RootKey, Refusal> {
    RootKey::parse(text.trim()).map_err(|_| {
        Refusal::new(
            Class::Invalid,
            Stage::Admin,
            "root.malformed",
            format!("{what} holds no root key"),
            "give the root key that opsiq init made",
        )
    })
}

/// Whole and durable before it is used: a directory whose root key is lost opens never again.
fn write(path: &Path, key: &RootKey) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Refusal {
    let class = if error.kind() == std::io::ErrorKind::NotFound { Class::NotFound } else { Class::Unavailable };
    Refusal::new(
        class,
        Stage::Admin,
        "root.file",
        format!("the root key's file {} {what}: {}", path.display(), error.kind()),
        "give the root key's file, or its text in the environment; opsiq init makes one",
    )
}
