//! Sessions that `opsiq login` began, each in a file of this user's alone, under the user's directory for state.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use opsiq_contract::{Digest, TenantId};
use opsiq_gate::ShownOnce;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::address::Address;
use super::proof::exposed;
use crate::failure::{Exit, Failure};

/// Bytes of such a file, at most.
const MOST: u64 = 16 << 10;

/// A session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The server it is one of.
    pub(crate) addr: String,
    pub(crate) tenant: TenantId,
    pub(crate) user: String,
    /// The session's token; none after it ended, when only the device is known.
    pub(crate) token: Option<ShownOnce>,
    /// What shows the server that somebody signed in from here before.
    pub(crate) device: Option<ShownOnce>,
    /// When it ends at the latest, in milliseconds since 1970.
    pub(crate) expires_ms: i64,
}

/// The session of this user at this server.
pub(crate) fn of(address: &Address, tenant: &TenantId, user: &str) -> Result<Kept, Failure> {
    let kept = read(&file(address, tenant, user)?)?.filter(|kept| kept.token.is_some());
    kept.ok_or_else(|| none(&format!("{tenant}/{user} is not signed in at {address}"), &format!("{tenant}/{user}")))
}

/// The device of this user at this server, if it is known from before.
pub(crate) fn device(address: &Address, tenant: &TenantId, user: &str) -> Option<ShownOnce> {
    read(&file(address, tenant, user).ok()?).ok().flatten()?.device
}

/// The session at this server, if there is just one.
pub(crate) fn only(address: &Address) -> Result<Kept, Failure> {
    let mut found = Vec::new();
    if let Ok(files) = fs::read_dir(directory()?) {
        for file in files.flatten() {
            let kept = read(&file.path())?;
            found.extend(kept.filter(|kept| kept.addr == address.to_string() && kept.token.is_some()));
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => {
            Err(Failure::usage(format!("several people are signed in at {address}"))
                .fix("say who acts: --as TENANT/USER"))
        }
        (None, _) => Err(none(&format!("nobody is signed in at {address}"), "TENANT/USER")),
    }
}

/// Keeps a session in the place of an earlier one.
pub(crate) fn keep(address: &Address, kept: &Kept) -> Result<(), Failure> {
    let directory = directory()?;
    let failed = |error: std::io::Error| Failure::file("write", &directory, &error);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
    let path = file(address, &kept.tenant, &kept.user)?;
    let text = serde_json::to_string(kept).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::internal("cannot write JSON", &error))?;
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(failed)
}

fn none(title: &str, who: &str) -> Failure {
    Failure::new(Exit::Refused, "addr.no-proof", title)
        .fix(format!("opsiq login --as {who}; a program names its key's file: --key-file FILE, or OPSIQ_KEY_FILE"))
}

fn read(path: &Path) -> Result<Option<Kept>, Failure> {
    let failed = |error: std::io::Error| Failure::file("read", path, &error);
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(exposed("session.exposed", path));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MOST).read_to_string(&mut text).map_err(failed)?;
    // One that was not written whole is none.
    Ok(serde_json::from_str(&text).ok())
}

fn directory() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| Failure::usage("where is this user's state kept?").fix("set HOME"))?;
    Ok(state.join("opsiq/sessions"))
}

fn file(address: &Address, tenant: &TenantId, user: &str) -> Result<PathBuf, Failure> {
    let name = format!("{address} {tenant}/{user}");
    // Names of servers and users have characters that files do not.
    let digest = Digest::of(name.as_bytes()).to_string();
    Ok(directory()?.join(format!("{}.json", digest.trim_start_matches("sha256:"))))
}
