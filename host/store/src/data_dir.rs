//! The data directory: private to its owner, used by one process, touched only through one handle.
//!
//! Modes are set after creation as well, since the process's mask can only take bits away from what is asked for, and
//! checked at every open, since a copy or a restored backup may have lost them.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _, Permissions, PermissionsExt as _};

use crate::{Blobs, StoreError};

/// The database of everything but keys.
pub(crate) const DATA: &str = "data.db";
/// The database of wrapped keys.
pub(crate) const KEYS: &str = "keys.db";
const BLOBS: &str = "blobs";
const COMPILED: &str = "compiled";
const LOCK: &str = "lock";
/// What this node is called, where it shares the databases of a server.
const NODE: &str = "node";

/// An open data directory, locked until dropped.
pub(crate) struct DataDir {
    path: PathBuf,
    dir: Dir,
    node: Option<String>,
    /// Whether the node got its name now.
    new_node: bool,
    _lock: std::fs::File,
}

impl DataDir {
    /// Creates what is missing of the directory at `path`, and opens it. A directory of databases that are `shared` holds none,
    /// and the name of its node.
    pub(crate) fn create(path: &Path, shared: bool) -> Result<Self, StoreError> {
        let made = |error: std::io::Error| StoreError::of_io("creating the data directory", &error);
        if !path.exists() {
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
                .recursive(true)
                .create(path)
                .map_err(made)?;
        }
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(made)?;
        let known = dir.exists(DATA) || dir.exists(NODE);
        let foreign = !known && dir.entries().map_err(made)?.next().is_some_and(|first| first.is_ok());
        if foreign && !dir.exists(LOCK) {
            return Err(StoreError::File {
                what: "creating the data directory: it holds other files",
                kind: std::io::ErrorKind::DirectoryNotEmpty,
            });
        }
        dir.set_permissions(".", Permissions::from_mode(0o700)).map_err(made)?;
        let lock = lock(&dir, path)?;
        for sub in [BLOBS, COMPILED] {
            if !dir.exists(sub) {
                dir.create_dir(sub).map_err(made)?;
            }
            dir.set_permissions(sub, Permissions::from_mode(0o700)).map_err(made)?;
        }
        let mut new_node = false;
        if shared {
            alone(&dir, path)?;
            new_node = name_node(&dir).map_err(made)?;
        } else {
            for file in [DATA, KEYS] {
                private_file(&dir, file).map_err(made)?;
            }
        }
        let node = if shared { Some(node_of(&dir)?) } else { None };
        Ok(Self { path: canonical(path)?, dir, node, new_node, _lock: lock })
    }

    /// Opens an existing directory.
    pub(crate) fn open(path: &Path, shared: bool) -> Result<Self, StoreError> {
        let missing = || StoreError::NotInitialised(path.to_owned());
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|_| missing())?;
        if shared {
            alone(&dir, path)?;
        }
        let own: &[&str] = if shared { &[".", NODE, BLOBS, COMPILED] } else { &[".", DATA, KEYS, BLOBS, COMPILED] };
        if !own.iter().all(|name| dir.exists(name)) {
            return Err(missing());
        }
        let lock = lock(&dir, path)?;
        for name in own {
            let found = dir.symlink_metadata(name).map_err(|error| StoreError::of_io("checking modes", &error))?;
            let mode = found.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 || found.is_symlink() {
                return Err(StoreError::Exposed { path: path.join(name), mode });
            }
        }
        let node = if shared { Some(node_of(&dir)?) } else { None };
        Ok(Self { path: canonical(path)?, dir, node, new_node: false, _lock: lock })
    }

    /// What this node is called, where it shares databases.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Whether creating it made a new node.
    pub(crate) fn is_new_node(&self) -> bool {
        self.new_node
    }

    /// The handle.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The path of a file in it, for the database library, which opens by path only.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The plugin files.
    pub(crate) fn blobs(&self) -> Result<Blobs, StoreError> {
        self.sub(BLOBS).map(Blobs::new)
    }

    /// The directory of compiled code.
    pub(crate) fn compiled(&self) -> Result<Dir, StoreError> {
        self.sub(COMPILED)
    }

    fn sub(&self, name: &str) -> Result<Dir, StoreError> {
        self.dir.open_dir(name).map_err(|error| StoreError::of_io("opening a directory", &error))
    }
}

/// Refuses a directory that holds databases: what is in them would be left behind unseen.
fn alone(dir: &Dir, path: &Path) -> Result<(), StoreError> {
    if dir.exists(DATA) { Err(StoreError::OtherEngine(path.to_owned())) } else { Ok(()) }
}

/// Names a node, once; answers whether it was now. A directory is locked by one process, so two nodes never have one name
/// unless it was copied.
fn name_node(dir: &Dir) -> std::io::Result<bool> {
    let mut file = private_file(dir, NODE)?;
    let new = file.metadata()?.len() == 0;
    if new {
        write!(file, "{}", uuid::Uuid::now_v7())?;
        file.sync_all()?;
    }
    Ok(new)
}

fn node_of(dir: &Dir) -> Result<String, StoreError> {
    let text = dir.read_to_string(NODE).map_err(|error| StoreError::of_io("reading the name of this node", &error))?;
    let name = uuid::Uuid::try_parse(text.trim()).map_err(|_| StoreError::damaged("name of this node"))?;
    Ok(name.to_string())
}

fn canonical(path: &Path) -> Result<PathBuf, StoreError> {
    path.canonicalize().map_err(|error| StoreError::of_io("finding the data directory", &error))
}

/// Creates `name` with mode 0600, or sets that mode.
fn private_file(dir: &Dir, name: &str) -> std::io::Result<cap_std::fs::File> {
    let file = dir.open_with(name, OpenOptions::new().read(true).write(true).create(true).mode(0o600))?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Takes the lock and writes the process's id into it. The lock ends with the process, whatever ends it; the file stays.
fn lock(dir: &Dir, path: &Path) -> Result<std::fs::File, StoreError> {
    let failed = |error: std::io::Error| StoreError::of_io("locking the data directory", &error);
    let mut file = private_file(dir, LOCK).map_err(failed)?.into_std();
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            tracing::debug!(path = %path.display(), "the data directory is locked");
            return Err(StoreError::Locked { pid });
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The id only makes an error helpful: a full disk must not keep the host from starting to read.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod tests;
