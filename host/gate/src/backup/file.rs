//! The form of a backup: a clear header, sealed pieces, and a signed note over all of it.
//!
//! ```text
//! "opsiq-backup-1\n"  u32 length, header (JSON)
//! for each piece:     u8 (0: more come, 1: the last)  u32 length, sealed bytes
//! at the end:         u32 length, note (C2SP signed note: bytes and SHA-256 of all before this length)
//! ```
//!
//! Numbers are big-endian. The header says which keys are needed and holds nothing of a tenant. Pieces are at most 1 MiB, so
//! a reader needs no more memory than that; each opens in its place alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use opsiq_audit::{PublicKey, open_backup};
use opsiq_vault::{BackupStream, EpochKey};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::refusal::{Class, Refusal, Stage};

const MAGIC: &[u8] = b"opsiq-backup-1\n";
/// Bytes of the header, of a sealed piece and of the note, at most.
const HEADER_MOST: usize = 64 << 10;
const PIECE: usize = 1 << 20;
const NOTE_MOST: usize = 64 << 10;

/// What a backup says of itself in clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupHeader {
    /// When it was begun, in milliseconds since 1970: it holds what was there then.
    pub made_ms: i64,
    /// The version of the host that made it.
    pub opsiq: String,
    /// The databases it was made of: `sqlite` or `postgres`. It is restored into either.
    pub engine: String,
    /// The id of the root key it needs.
    pub root: String,
    /// The id of the epoch key it needs.
    pub epoch: String,
    /// When that key is destroyed, and with it what opens here, in milliseconds since 1970.
    pub opens_until_ms: i64,
    /// When the file of epoch keys was written that it was made with, in milliseconds since 1970. One that was written before does
    /// not know what was erased since.
    pub epochs_ms: i64,
    /// The public key that signed it.
    pub key: String,
    /// Which key of the epoch's seals its pieces.
    salt: String,
}

impl BackupHeader {
    /// One of a backup that begins now.
    pub(crate) fn new(
        (made_ms, epochs_ms): (i64, i64),
        engine: &str,
        root: String,
        epoch: (String, i64),
        key: &PublicKey,
    ) -> Self {
        let mut salt = [0; 32];
        opsiq_vault::fresh(&mut salt);
        Self {
            made_ms,
            opsiq: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.to_owned(),
            root,
            epoch: epoch.0,
            opens_until_ms: epoch.1,
            epochs_ms,
            key: key.to_string(),
            salt: hex::encode(salt),
        }
    }

    fn stream(&self, text: &[u8], epoch: &EpochKey) -> Option<BackupStream> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&self.salt, &mut salt).ok()?;
        Some(epoch.stream(&salt, *opsiq_contract::Digest::of(text).as_bytes()))
    }
}

/// A backup that is being written, under another name until it is whole. Dropped before, it leaves nothing.
pub(crate) struct Writer {
    out: Hashing<BufWriter<File>>,
    stream: BackupStream,
    /// The piece that came last, which may be the last of all.
    held: Vec<u8>,
    partial: PathBuf,
    path: PathBuf,
}

impl Writer {
    /// Begins one at `path`, where there must be nothing.
    pub(crate) fn create(path: &Path, header: &BackupHeader, epoch: &EpochKey) -> Result<Self, Refusal> {
        let text = serde_json::to_vec(header).unwrap_or_default();
        let stream = header.stream(&text, epoch).ok_or_else(|| not_ours(path, "its header is not whole"))?;
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let partial = path.with_added_extension("partial");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let file = file.map_err(|error| failed(path, "written", &error))?;
        let mut out = Hashing::new(BufWriter::with_capacity(PIECE, file));
        let begun = out.write_all(MAGIC).and_then(|()| long(&mut out, &text));
        begun.map_err(|error| failed(path, "written", &error))?;
        Ok(Self { out, stream, held: Vec::new(), partial, path: path.to_owned() })
    }

    /// Takes the next bytes of what is sealed.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        for part in bytes.chunks(PIECE - BackupStream::OVERHEAD) {
            let held = std::mem::replace(&mut self.held, part.to_vec());
            if !held.is_empty() {
                self.piece(held, false).map_err(|error| failed(&self.path, "written", &error))?;
            }
        }
        Ok(())
    }

    /// Ends it with the note that `sign` makes for the size and SHA-256 of all before it: whole, on disk and under its name. Answers both.
    pub(crate) fn end(mut self, sign: impl FnOnce(u64, [u8; 32]) -> String) -> Result<(u64, [u8; 32]), Refusal> {
        let held = std::mem::take(&mut self.held);
        let finish = || {
            self.piece(held, true)?;
            let (bytes, digest) = self.out.so_far();
            long(&mut self.out, sign(bytes, digest).as_bytes())?;
            self.out.flush()?;
            self.out.inner.get_ref().sync_all()?;
            place(&self.partial, &self.path)?;
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok((bytes, digest))
        };
        finish().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path),
            _ => failed(&self.path, "written", &error),
        })
    }

    fn piece(&mut self, mut piece: Vec<u8>, last: bool) -> io::Result<()> {
        self.stream.seal(&mut piece, last);
        self.out.write_all(&[u8::from(last)])?;
        long(&mut self.out, &piece)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Either it has its name, or it is of no use.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// A backup that is there.
pub(crate) struct Reader {
    path: PathBuf,
    file: Hashing<BufReader<File>>,
    text: Vec<u8>,
    pub(crate) header: BackupHeader,
    /// Where the pieces begin.
    begins: u64,
}

/// What a whole backup is, without any key that opens it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) pieces: u64,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, Refusal> {
        let file = File::open(path).map_err(|error| failed(path, "read", &error))?;
        let mut file = Hashing::new(BufReader::with_capacity(PIECE, file));
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|error| cut_off(path, &error))?;
        if magic != MAGIC {
            return Err(not_ours(path, "it is no backup of this host, or of another version"));
        }
        let text = take(&mut file, HEADER_MOST).map_err(|error| cut_off(path, &error))?;
        let header = serde_json::from_slice(&text).map_err(|_| not_ours(path, "its header is not of this version"))?;
        let begins = (MAGIC.len() + 4 + text.len()) as u64;
        Ok(Self { path: path.to_owned(), file, text, header, begins })
    }

    /// Reads all of it once and checks that it is whole and that `key` signed it. It is read from its beginning again after.
    pub(crate) fn check(&mut self, key: &PublicKey) -> Result<Whole, Refusal> {
        let path = self.path.clone();
        let mut check = || {
            let mut pieces = 0;
            while !self.skip()? {
                pieces += 1;
            }
            let (bytes, digest) = self.file.so_far();
            let note = take(&mut self.file, NOTE_MOST)?;
            let after = self.file.read(&mut [0])?;
            self.file.inner.seek(SeekFrom::Start(self.begins))?;
            Ok((Whole { bytes, sha256: digest, pieces: pieces + 1 }, note, after))
        };
        let (whole, note, after) = check().map_err(|error: io::Error| cut_off(&path, &error))?;
        let note = String::from_utf8(note).map_err(|_| not_ours(&path, "its note is none"))?;
        let signed = open_backup(&note, key).map_err(|error| {
            not_ours(&path, &error.to_string().replace("the checkpoint", "its note").replace("this log", "backups"))
        })?;
        if signed != (whole.bytes, whole.sha256) || after > 0 {
            return Err(not_ours(&path, "it is not what was signed"));
        }
        Ok(whole)
    }

    /// Opens it, piece by piece.
    pub(crate) fn pieces(mut self, epoch: &EpochKey) -> Result<Pieces, Refusal> {
        let stream = self.header.stream(&self.text, epoch);
        let stream = stream.ok_or_else(|| not_ours(&self.path, "its header is not whole"))?;
        self.text.clear();
        Ok(Pieces { reader: self, stream, ended: false })
    }

    /// Passes over a piece, a little at a time; whether it was the last.
    fn skip(&mut self) -> io::Result<bool> {
        let (last, length) = self.piece_head()?;
        let mut left = length as u64;
        let mut buffer = [0; 8192];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.file.read_exact(&mut buffer[..part])?;
            left -= part as u64;
        }
        Ok(last)
    }

    fn piece_head(&mut self) -> io::Result<(bool, usize)> {
        let mut kind = [0];
        self.file.read_exact(&mut kind)?;
        let length = length(&mut self.file, PIECE)?;
        match kind {
            [0] => Ok((false, length)),
            [1] => Ok((true, length)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What is sealed in a backup, piece by piece.
pub(crate) struct Pieces {
    reader: Reader,
    stream: BackupStream,
    ended: bool,
}

impl Pieces {
    /// The next piece; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        if self.ended {
            return Ok(None);
        }
        let mut read = || {
            let (last, length) = self.reader.piece_head()?;
            let mut piece = vec![0; length];
            self.reader.file.read_exact(&mut piece)?;
            Ok((last, piece))
        };
        let (last, mut piece) = read().map_err(|error: io::Error| cut_off(&self.reader.path, &error))?;
        self.stream.open(&mut piece, last).map_err(|error| not_ours(&self.reader.path, &error.to_string()))?;
        self.ended = last;
        Ok(Some(piece))
    }
}

/// What is read or written, and the SHA-256 of all that went through.
struct Hashing<F> {
    inner: F,
    bytes: u64,
    hash: Sha256,
}

impl<F> Hashing<F> {
    fn new(inner: F) -> Self {
        Self { inner, bytes: 0, hash: Sha256::new() }
    }

    fn so_far(&self) -> (u64, [u8; 32]) {
        (self.bytes, self.hash.clone().finalize().into())
    }

    fn went(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

impl<R: io::Read> io::Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.went(&into[..read]);
        Ok(read)
    }
}

impl<W: io::Write> io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.went(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Gives a file its name, unless somebody else put something there meanwhile.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot look and rename at once.
        Err(Errno::INVAL) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
        done => Ok(done?),
    }
}

/// Writes bytes with their length before them.
fn long(out: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)
}

/// Reads a length that is not beyond `most`.
fn length(from: &mut impl io::Read, most: usize) -> io::Result<usize> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length) }
}

/// Reads bytes with their length before them.
fn take(from: &mut impl io::Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length(from, most)?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn not_ours(path: &Path, why: &str) -> Refusal {
    Refusal::new(
        Class::Tampered,
        Stage::Admin,
        "backup.damaged",
        format!("the backup {} is not to be used: {why}", path.display()),
        "use another backup; opsiq backup --verify FILE tells which are whole",
    )
}

fn cut_off(path: &Path, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => not_ours(path, "it is cut off"),
        io::ErrorKind::InvalidData => not_ours(path, "its form is not that of a backup"),
        _ => failed(path, "read", error),
    }
}

fn exists(path: &Path) -> Refusal {
    let said = format!("there is something at {} already", path.display());
    Refusal::new(Class::Conflict, Stage::Admin, "backup.exists", said, "name a file that is not there yet")
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Refusal {
    let class = if error.kind() == io::ErrorKind::NotFound { Class::NotFound } else { Class::Unavailable };
    let message = format!("the backup {} cannot be {what}: {}", path.display(), error.kind());
    Refusal::new(class, Stage::Admin, "backup.file", message, "name a file in a directory that the host may use")
}
