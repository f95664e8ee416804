//! The install root key on its way in: from a file that nobody else can read, or from text. What the file holds is the key
//! itself, or, where a KMS is named, the key as the KMS closed it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opsiq_vault::RootKey;
use zeroize::Zeroizing;

use crate::host::{HostOptions, RootSource};
use crate::kms::{self, Closed, Kms};
use crate::refusal::{Class, Refusal, Stage};

/// Longer files are no root key.
const MOST: u64 = 4096;

/// A root key that everything is to be put under.
pub(crate) struct NextRoot {
    pub(crate) key: RootKey,
    /// Its file, when it is to take the place of the one in use: see [`beside`].
    pub(crate) beside: Option<PathBuf>,
}

/// How root keys are read and kept.
#[derive(Clone)]
pub(crate) struct Roots {
    kms: Option<Arc<dyn Kms>>,
}

impl Roots {
    /// As the operator says.
    pub(crate) fn of(options: &HostOptions) -> Result<Self, Refusal> {
        let kms = kms::named(options)?;
        if let (Some(kms), RootSource::Text(_)) = (&kms, &options.root) {
            return Err(Refusal::new(
                Class::Invalid,
                Stage::Admin,
                "root.two-ways",
                format!("the root key is given as text, and {} is to open it", kms.shown()),
                "give one of both: leave OPSIQ_ROOT_KEY unset, or take [root] out of opsiq.toml",
            ));
        }
        Ok(Self { kms })
    }

    /// Whether a KMS closes their files.
    pub(crate) fn are_closed(&self) -> bool {
        self.kms.is_some()
    }

    /// The root key, and its file when it came from one.
    pub(crate) fn load(&self, source: &RootSource) -> Result<(RootKey, Option<PathBuf>), Refusal> {
        match source {
            RootSource::File(path) => Ok((self.read(path)?, Some(path.clone()))),
            RootSource::Text(text) => {
                let text = std::str::from_utf8(text.expose()).unwrap_or_default();
                Ok((parse(text, "the root key given")?, None))
            }
        }
    }

    /// The same, making the file when there is none. Answers the path only when it was made now.
    pub(crate) fn load_or_make(&self, source: &RootSource) -> Result<(RootKey, Option<PathBuf>), Refusal> {
        match source {
            RootSource::File(path) if !path.exists() => {
                let key = RootKey::generate();
                let text = self.text(&key)?;
                write(path, &text).map_err(|error| failed(path, "cannot be written", &error))?;
                Ok((key, Some(path.clone())))
            }
            source => Ok((self.load(source)?.0, None)),
        }
    }

    /// The next root key, when a rotation left it beside `file`.
    pub(crate) fn waiting(&self, file: &Path) -> Result<Option<NextRoot>, Refusal> {
        let path = beside(file)?;
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(NextRoot { key: self.read(&path)?, beside: Some(path) }))
    }

    /// Keeps the next root key beside `file`: there is never a part of a key under that name.
    pub(crate) fn keep_beside(&self, file: &Path, key: RootKey) -> Result<NextRoot, Refusal> {
        let path = beside(file)?;
        let text = self.text(&key)?;
        let mut whole = path.clone().into_os_string();
        whole.push(".new");
        let whole = PathBuf::from(whole);
        let kept = || {
            // What a process that was killed here left behind was never used.
            match std::fs::remove_file(&whole) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            write(&whole, &text)?;
            std::fs::rename(&whole, &path)?;
            sync_parent(&path)
        };
        kept().map_err(|error| failed(&path, "cannot be written", &error))?;
        Ok(NextRoot { key, beside: Some(path) })
    }

    /// How the root key in a file is kept, for people; or why it does not open.
    pub(crate) fn kept(&self, file: &Path, expected: &str) -> Result<RootForm, Refusal> {
        let key = self.read(file)?;
        if key.id().to_string() != expected {
            let message = format!("{} holds root key {}, not {expected}", file.display(), key.id());
            let fix = "put the file of the root key in use back";
            return Err(Refusal::new(Class::Tampered, Stage::Admin, "root.wrong", message, fix));
        }
        let closed = Closed::parse(&text_of(file)?).is_some();
        Ok(match (&self.kms, closed) {
            (Some(kms), true) => RootForm::Closed(kms.shown()),
            (Some(kms), false) => RootForm::ClearBeside(kms.shown()),
            (None, _) => RootForm::Clear,
        })
    }

    fn read(&self, path: &Path) -> Result<RootKey, Refusal> {
        let (text, at) = (text_of(path)?, format!("the file {}", path.display()));
        match Closed::parse(&text) {
            Some(closed) => closed.open(self.kms.as_deref(), &at),
            None => parse(&text, &at),
        }
    }

    /// What a file of the key holds.
    fn text(&self, key: &RootKey) -> Result<Zeroizing<String>, Refusal> {
        match &self.kms {
            Some(kms) => Ok(Zeroizing::new(Closed::of(key, kms.as_ref())?.text())),
            None => Ok(key.to_text()),
        }
    }
}

/// How a root key's file keeps it.
pub(crate) enum RootForm {
    /// In clear.
    Clear,
    /// Closed, by this.
    Closed(String),
    /// In clear, although this is there to close it.
    ClearBeside(String),
}

/// Where the next root key waits while a rotation is under way: beside the file of the one in use (a link is followed),
/// called the same with `.next` after it.
pub(crate) fn beside(file: &Path) -> Result<PathBuf, Refusal> {
    let mut next = file.canonicalize().map_err(|error| failed(file, "cannot be found", &error))?.into_os_string();
    next.push(".next");
    Ok(next.into())
}

/// Puts the waiting key in the place of the one in use, whose bytes are then overwritten, as far as the file system
/// writes over them in place. At no moment is there no whole key under the name.
pub(crate) fn take_place(next: &Path, file: &Path) -> Result<(), Refusal> {
    let moved = || {
        let file = file.canonicalize()?;
        let mut old = OpenOptions::new().write(true).open(&file)?;
        let length = old.metadata()?.len().min(MOST);
        std::fs::rename(next, &file)?;
        sync_parent(&file)?;
        old.write_all(&vec![0; usize::try_from(length).unwrap_or_default()])?;
        old.sync_all()
    };
    moved().map_err(|error| failed(next, "cannot take the place of the root key's file", &error))
}

/// Makes a new root key's file in clear, which must not exist.
pub(crate) fn generate(path: &Path) -> Result<RootKey, Refusal> {
    let key = RootKey::generate();
    write(path, &key.to_text()).map_err(|error| failed(path, "cannot be written", &error))?;
    Ok(key)
}

fn text_of(path: &Path) -> Result<Zeroizing<String>, Refusal> {
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
    Ok(text)
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
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
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
