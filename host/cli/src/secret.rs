//! Where a secret comes from: a prompt without echo, standard input, or a file; never an argument, which every process
//! on the machine could read.

use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use opsiq_vault::Secret;
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Bytes of a secret's text, at most.
const MAX: u64 = 64 * 1024;

/// Options that say where the value is.
#[derive(Debug, Args)]
pub(crate) struct SecretSource {
    /// Read the value from standard input, up to its end; one line break at the end is not part of it.
    #[arg(long, conflicts_with = "file")]
    stdin: bool,

    /// Read the value from a file; one line break at the end is not part of it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Keep a value that begins with `whsec_` as that text, as Stripe means it; otherwise the base64 after it is the
    /// secret, as Standard Webhooks means it.
    #[arg(long)]
    verbatim: bool,
}

/// A value as it was given, and what is kept of it.
pub(crate) struct Given {
    /// Its text.
    pub(crate) text: Zeroizing<String>,
    /// Whether the text itself is the secret, whatever it begins with.
    pub(crate) verbatim: bool,
    /// The secret.
    pub(crate) secret: Secret,
}

impl SecretSource {
    /// Reads the value. Blocks while a person types, so call it before anything is opened or locked.
    pub(crate) fn read(&self, name: &str, out: &Output) -> Result<Given, Failure> {
        let text = match &self.file {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
                bounded(file)?
            }
            None if self.stdin => bounded(io::stdin().lock())?,
            None => prompted(name)?,
        };
        let secret = if self.verbatim { Secret::verbatim(&text) } else { Secret::from_user_input(&text) };
        if !self.verbatim && text.starts_with("whsec_") {
            out.note(
                "Taken as a Standard Webhooks secret: the base64 after whsec_ is the key (--verbatim keeps the text).",
            );
        }
        let secret = secret.map_err(|error| {
            Failure::new(Exit::Invalid, "key.value", "this value cannot be a key").detail(error.to_string())
        })?;
        Ok(Given { text, verbatim: self.verbatim, secret })
    }
}

/// A secret whose text is the key, from a file.
pub(crate) fn file_verbatim(path: &Path) -> Result<Secret, Failure> {
    let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    verbatim(&bounded(file)?)
}

/// A secret whose text is the key.
pub(crate) fn verbatim(text: &str) -> Result<Secret, Failure> {
    Secret::verbatim(text).map_err(|error| {
        Failure::new(Exit::Invalid, "key.value", "this value cannot be a key").detail(error.to_string())
    })
}

fn bounded(source: impl Read) -> Result<Zeroizing<String>, Failure> {
    // Allocated once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX).unwrap_or(usize::MAX) + 1));
    let read = source.take(MAX + 1).read_to_string(&mut text);
    match read {
        Ok(count) if count as u64 <= MAX => Ok(text),
        Ok(_) => Err(Failure::new(Exit::Invalid, "key.value", format!("a key has at most {MAX} bytes"))),
        // The cause may quote what was read.
        Err(_) => Err(Failure::new(Exit::Invalid, "key.value", "the value cannot be read, or is not UTF-8 text")),
    }
}

fn prompted(name: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stderr().is_terminal() {
        return Err(Failure::usage("no terminal to ask for the value on").fix("give it with --stdin or --file FILE"));
    }
    match rpassword::prompt_password(format!("Value of {name} (not shown): ")) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(crate::shell::interrupted()),
        Err(_) => {
            Err(Failure::usage("the value cannot be read from the terminal").fix("give it with --stdin or --file FILE"))
        }
    }
}
