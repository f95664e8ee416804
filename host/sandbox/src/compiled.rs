//! Compiled code on disk. Loading it is running it: the engine trusts its compiler's output and checks little. So a
//! file is believed only when a key of the vault vouches for every byte of it, for this component and this engine;
//! anything else is compiled anew and written over.

use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};

use cap_std::fs::{Dir, OpenOptions};
use opsiq_contract::Digest;
use opsiq_vault::MacAlgorithm;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::class::Class;
use crate::config::CompiledCache;

/// First bytes of every file; the last one is the version of this form.
const MAGIC: &[u8; 8] = b"opsiqcc\x02";
const HASH: usize = 32;
const HEAD: usize = MAGIC.len() + HASH + HASH + 1;
/// Largest file that is read, in bytes. The largest interpreters compile to about 60 MiB.
const FILE_MAX: u64 = 512 << 20;

/// What lay in the folder for a component.
pub(crate) enum Found {
    /// Nothing.
    Absent,
    /// Something that is not to be run, and why.
    Refused(String),
    /// Code this host compiled, of this component, for this engine.
    Code(Code),
}

/// Machine code of a component, and the class of plugins it is of.
pub(crate) struct Code {
    pub(crate) class: Class,
    file: Vec<u8>,
    from: usize,
    to: usize,
}

impl Code {
    /// As a compiler of ours just made it.
    pub(crate) fn compiled(class: Class, code: Vec<u8>) -> Self {
        Self { class, from: 0, to: code.len(), file: code }
    }

    fn bytes(&self) -> &[u8] {
        &self.file[self.from..self.to]
    }

    /// Loads it into an engine whose hash it was made for.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        runnable(engine, self.bytes())
    }
}

/// What code is bound to besides its component: engine version, target and every setting that shapes code.
pub(crate) fn engine_hash(engine: &Engine) -> [u8; HASH] {
    struct Feed(Sha256);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0 // never asked: the whole digest is taken
        }
    }
    let mut feed = Feed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut feed);
    feed.0.finalize().into()
}

/// The file of a component. An engine that counts fuel compiles to other code.
fn name(digest: &Digest, fuel: bool) -> String {
    format!("{}.{}", digest.hex(), if fuel { "fuel" } else { "code" })
}

impl CompiledCache {
    /// The code of `digest`, if this host wrote it for engines of the hash `engine` and nobody changed it since.
    pub(crate) fn load(&self, engine: &[u8; HASH], digest: &Digest, fuel: bool) -> Found {
        let file = match read(&self.dir, &name(digest, fuel)) {
            Ok(Some(file)) => file,
            Ok(None) => return Found::Absent,
            Err(error) => return Found::Refused(format!("it could not be read: {error}")),
        };
        match self.authentic(&file, engine, digest) {
            Ok(class) => Found::Code(Code { class, from: HEAD, to: file.len() - HASH, file }),
            Err(why) => Found::Refused(why.to_owned()),
        }
    }

    /// The class of the code inside `file`, once the MAC over all of it holds and it is of this engine and component.
    /// Nothing of the file is used before.
    fn authentic(&self, file: &[u8], engine: &[u8; HASH], digest: &Digest) -> Result<Class, &'static str> {
        let split = file.len().checked_sub(HASH).filter(|split| *split >= HEAD).ok_or("it is too short")?;
        let (body, mac) = file.split_at(split);
        if !self.mac_key.verify(MacAlgorithm::HmacSha256, body, mac) {
            return Err("its MAC is not this host's");
        }
        let mut classes = Class::ALL.into_iter();
        let head = body.get(..HEAD).unwrap_or_default();
        classes.find(|class| head == header(engine, digest, *class)).ok_or("it is of another engine or component")
    }

    /// Writes the code of `digest`: whole or not at all.
    pub(crate) fn save(&self, engine: &[u8; HASH], digest: &Digest, fuel: bool, code: &Code) -> io::Result<()> {
        let mut file = header(engine, digest, code.class);
        file.reserve_exact(code.bytes().len() + HASH);
        file.extend_from_slice(code.bytes());
        let mac = self.mac_key.hmac_sha256(&file);
        file.extend_from_slice(&mac);

        let name = name(digest, fuel);
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let draft = format!("{name}.{:016x}", u64::from_le_bytes(unique));
        let written = write(&self.dir, &draft, &file).and_then(|()| self.dir.rename(&draft, &self.dir, &name));
        if written.is_err() {
            // The draft may not exist; what failed first is what is reported.
            let _ = self.dir.remove_file(&draft);
        }
        written
    }
}

fn header(engine: &[u8; HASH], digest: &Digest, class: Class) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(engine);
    head.extend_from_slice(digest.as_bytes());
    head.push(class.byte());
    head
}

fn read(dir: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    let size = match dir.metadata(name) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > FILE_MAX {
        return Err(io::Error::other(format!("it has {size} bytes")));
    }
    dir.read(name).map(Some)
}

fn write(dir: &Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = dir.open_with(name, OpenOptions::new().write(true).create_new(true))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The one place where machine code becomes runnable: what `authentic` has proved, or what the compiler just made.
#[allow(
    unsafe_code,
    reason = "loading compiled code is running it, so the engine asks for a promise: this host's own compiler wrote these \
              very bytes for this engine, which `authentic` has proved with the vault's key, or which came over the pipe \
              of a child that this process started from its own binary"
)]
fn runnable(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above; the one caller is `Code`, which only those two make, and the bytes are copied once.
    unsafe { Component::deserialize(engine, code) }
}
