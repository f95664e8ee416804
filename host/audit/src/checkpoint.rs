//! Signed heads: a C2SP tlog-checkpoint (origin, size, root) inside a C2SP signed note. One that the host keeps for itself
//! has an extension line, `rows COUNT DIGEST`: the head of the owner's rows, so that an older row put back is as visible as a
//! cut log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opsiq_contract::Digest;
use opsiq_store::RowHead;

use crate::key::{CheckpointKey, PublicKey, is_name};
use crate::log::Log;
use crate::tree::Hash;

/// Longest note read, in bytes. A note of ours has about 250.
const MAX_NOTE: usize = 64 * 1024;
/// Most signature lines read; the signed-note text asks for at least 16.
const MAX_SIGNATURES: usize = 64;
/// What begins the extension line.
const ROWS: &str = "rows ";
/// What stands between the text and the first signature.
const MARK: &str = "\u{2014} ";

/// The head of a log: so many entries, with that root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name among all hosts; see [`CheckpointKey::origin`].
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
    /// The head of the rows of the log's owner, when it has any.
    pub rows: Option<RowHead>,
}

/// Why a text is not a checkpoint of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the form of a signed note.
    #[error("the checkpoint is not a signed note")]
    Form,
    /// No signature by the key.
    #[error("the checkpoint is not signed by the given key for this log")]
    Unsigned,
    /// A signature that names the key and is not its.
    #[error("the checkpoint's signature is wrong")]
    Signature,
    /// A good signature over something that is no head of this log.
    #[error("the checkpoint is signed, but is not a head of this log")]
    Text,
}

impl Checkpoint {
    /// Signs the head of a log; the note's text.
    pub fn sign(key: &CheckpointKey, log: &Log, size: u64, root: Hash, rows: Option<RowHead>) -> String {
        let public = key.public(log);
        Self { origin: public.name().to_owned(), size, root, rows }.signed(key, &public)
    }

    /// The note of this, signed by `key` under the name of `public`.
    pub(crate) fn signed(&self, key: &CheckpointKey, public: &PublicKey) -> String {
        let text = self.text();
        let mut signature = public.id().to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()));
        format!("{text}\n{MARK}{} {}\n", public.name(), STANDARD.encode(signature))
    }

    /// Reads a note and checks that `key` signed it. Signatures of other keys (witnesses, say) are ignored.
    ///
    /// # Errors
    /// When it is not a note, not signed by the key, wrongly signed, or not a checkpoint of the key's log.
    pub fn open(note: &str, key: &PublicKey) -> Result<Self, CheckpointError> {
        if note.len() > MAX_NOTE || note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(CheckpointError::Form);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(CheckpointError::Form)?;
        let text = note.get(..=text.len()).ok_or(CheckpointError::Form)?;
        let signatures = signatures.strip_suffix('\n').ok_or(CheckpointError::Form)?;
        let mut signed = false;
        for (count, line) in signatures.split('\n').enumerate() {
            let (name, bytes) = signature(line).filter(|_| count < MAX_SIGNATURES).ok_or(CheckpointError::Form)?;
            let Some((id, bytes)) = bytes.split_at_checked(4) else { return Err(CheckpointError::Form) };
            if name == key.name() && id == key.id() {
                let bytes: &[u8; 64] = bytes.try_into().map_err(|_| CheckpointError::Signature)?;
                if !key.verify(text.as_bytes(), bytes) {
                    return Err(CheckpointError::Signature);
                }
                signed = true;
            }
        }
        if !signed {
            return Err(CheckpointError::Unsigned);
        }
        Self::parse(text).filter(|checkpoint| checkpoint.origin == key.name()).ok_or(CheckpointError::Text)
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let rows =
            self.rows.map(|rows| format!("{ROWS}{} {}\n", rows.changes, STANDARD.encode(rows.digest.as_bytes())));
        format!("{}\n{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.0), rows.unwrap_or_default())
    }

    /// Reads the signed text. Other extension lines, which nothing audits, are refused.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let checkpoint = Self {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: Hash::from_slice(&STANDARD.decode(lines.next()?).ok()?)?,
            rows: match lines.next() {
                Some(line) => Some(rows(line)?),
                None => None,
            },
        };
        (lines.next().is_none() && checkpoint.text() == text).then_some(checkpoint)
    }
}

/// The head of rows in an extension line.
fn rows(line: &str) -> Option<RowHead> {
    let (changes, digest) = line.strip_prefix(ROWS)?.split_once(' ')?;
    let digest: [u8; 32] = STANDARD.decode(digest).ok()?.try_into().ok()?;
    Some(RowHead { changes: changes.parse().ok()?, digest: Digest::from_bytes(digest) })
}

/// The name and the bytes of a signature line.
fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, bytes) = line.strip_prefix(MARK)?.split_once(' ')?;
    is_name(name).then_some(())?;
    Some((name, STANDARD.decode(bytes).ok()?))
}

#[cfg(test)]
mod tests;
