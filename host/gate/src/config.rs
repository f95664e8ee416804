//! `opsiq.toml`, the operator's file in the data directory: the ceiling, how the machine is shared, whom the way out asks and
//! trusts, and how long confirmations wait. A mistake in it stops the start, with its line, because a misspelt ceiling would
//! be no ceiling. `[server]` is the front door's, which reads it itself.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use opsiq_contract::{Ceiling, Fairness, PrivateTarget, parse_time};
use serde::Deserialize;

use crate::databases::Databases;
use crate::kms::Token;
use crate::outside::Outside;
use crate::refusal::{Class, Fault, Refusal, Stage};
use crate::sso::SsoTargets;

/// The file's name.
pub(crate) const FILE: &str = "opsiq.toml";
/// The sections beside the ceiling's.
const OWN: [&str; 9] = ["audit", "backup", "confirmation", "egress", "fairness", "root", "server", "sso", "store"];
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

# Where the keys of backups are kept, outside the databases; by default beside the root key's file. A backup opens with the
# root key and this file alone, and keys in it are destroyed within 30 days: keep its newest copy like the root key, and none
# that is older.
# [backup]
# epochs = "/etc/opsiq/root.key.epochs"

# How it is served over the network: opsiq serve. The same names in the environment win, such as OPSIQ_SERVER__LISTEN.
# opsiq config explain shows each of them, where its value came from and what it means.
# [server]
# listen = "127.0.0.1:8443"
# operator-listen = "127.0.0.1:9443" # health and metrics, in clear
# public-url = "https://api.example.com"
# tls-certificate = "/etc/opsiq/tls/chain.pem" # by default one of the host's own making
# tls-key = "/etc/opsiq/tls/key.pem"
# trusted-proxies = ["10.0.0.0/24"] # your own, whose forwarded-header says where a request comes from
# limit-sign-in = "address 60/min tenant 300/min" # and limit-reads, -writes, -exports, -health

# A token that opens the root key's file, by PKCS #11; by default the file holds the key in clear. The PIN comes from
# OPSIQ_ROOT_PKCS11_PIN or the file. To move a host to a token, or to another key of it: name it here, then
# opsiq keys rotate --root. Read before the start, where OPSIQ_ROOT_PKCS11_MODULE, _TOKEN and _KEY come first.
# [root]
# pkcs11-module = "/usr/lib/softhsm/libsofthsm2.so"
# pkcs11-token = "opsiq"
# pkcs11-key = "opsiq-root-1"
# pkcs11-pin-file = "/run/secrets/opsiq-pin"

# Databases on a PostgreSQL server, for more than one node; by default they are in the data directory. Wrapped keys are in one of
# their own, so that their backups are apart. Read before the start, where OPSIQ_STORE_URL and OPSIQ_STORE_KEYS come first.
# [store]
# url = "postgres://opsiq@db.example.com/opsiq?sslmode=verify-full"
# keys = "postgres://opsiq@db.example.com/opsiq_keys?sslmode=verify-full"
# password-file = "/run/secrets/opsiq-database"

# What any plugin may use at most. Limits may be raised above the defaults here, and only here.
# [ceiling]
# component = "16MiB"      # 24MiB for plugins in Python
# compile = "10s"          # 2min for those
# compile-memory = "1GiB"  # of the process that compiles one
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

# How plugins' requests find their way. Name servers are asked instead of the system's, after the hosts file; roots are files
# of certificates trusted beside the web's; hosts listed under tls12 may speak TLS 1.2, which the audit log shows.
# [egress]
# name-servers = ["10.0.0.53", "[fd00::53]:5353"]
# roots = ["/etc/opsiq/company-ca.pem"]
# tls12 = ["legacy.example.com"]

# A private address at which tenants' providers of identities may be: exact network and port. Without an entry, none is; what plugins
# may reach is said apart, above.
# [[sso.private-target]]
# cidr = "10.1.2.3/32"
# port = 8443
# tls = false            # allow plain http to it

# How the machine is shared. Every limit stands at three levels: all tenants together, any tenant, any installation. A call
# needs room at all three; if there is none it waits, and if it waits too long or too many do, it is refused by the name
# of the limit, such as limit.tenant.queue, and told when to try again. These are the defaults:
# [fairness]
# computing = 2            # calls that compute at one moment; by default as many as there are processors. One of these
#                          # is kept for calls that are done within a few milliseconds
#
# [fairness.host]
# concurrency = 512        # calls that run at once; each has a slot of the pool, 4 GiB of address space
# queue = 4096             # calls that wait to run; 0 for none
# queue-wait = "5s"        # how long one of them waits at most
#
# [fairness.each-tenant]
# weight = 100             # against other tenants, when processor or slots are scarce: 1 to 10000
# concurrency = 128
# queue = 1024
# queue-wait = "5s"
#
# [fairness.each-installation]
# weight = 100             # against the tenant's other installations
# concurrency = 128
# queue = 1024
# queue-wait = "5s"

# What a minute may bring, at any level; without these it is not limited. A call that began goes on to its end: what it
# uses beyond is paid for by later calls, which are refused until then. HTTP requests of running calls are refused as well.
# [fairness.tenant.acme]
# cpu-per-minute = "60s"   # processor time: 60s is one processor all the time
# egress-per-minute = "1GiB" # bytes sent and received over HTTP
# calls-per-minute = 6000  # calls that began, or were put before a person

# One tenant as above, one of its installations by its name, any installation of one plugin: of these, what is said
# nearest counts.
# [fairness.tenant.acme.installation.shop]
# weight = 200
# [fairness.plugin."publisher/id"]
# concurrency = 16
"#;

/// What the file says beside the ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a confirmation waits, in milliseconds.
    pub(crate) confirmation_ms: i64,
    /// Where checkpoints are kept, if not beside the data directory.
    pub(crate) checkpoints: Option<PathBuf>,
    /// Where the keys of backups are kept, if not beside the root key's file.
    pub(crate) epochs: Option<PathBuf>,
    /// How the machine is shared.
    pub(crate) fairness: Fairness,
    /// Whom the way out asks and trusts.
    pub(crate) outside: Outside,
    /// Private destinations that providers of identities may have.
    pub(crate) sso_targets: Vec<PrivateTarget>,
    /// Where the databases are, if not in the data directory.
    pub(crate) store: Option<Databases>,
    /// What opens the root key's file, if anything.
    pub(crate) token: Option<Token>,
}

#[derive(Deserialize)]
struct File {
    store: Option<Databases>,
    root: Option<Token>,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    backup: Backup,
    #[serde(default)]
    confirmation: Confirmation,
    #[serde(default)]
    egress: Outside,
    #[serde(default)]
    sso: SsoTargets,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Audit {
    checkpoints: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Backup {
    epochs: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Confirmation {
    expires_after: Option<String>,
}

/// Reads the file; a missing one says nothing.
pub(crate) fn load(dir: &Dir) -> Result<(Ceiling, Settings), Refusal> {
    parse(&text(dir)?)
}

/// What the file says; nothing when there is none.
pub(crate) fn text(dir: &Dir) -> Result<String, Refusal> {
    let mut text = String::new();
    match dir.open(FILE) {
        Ok(file) => {
            let read = file.take(MOST).read_to_string(&mut text);
            read.map_err(|error| failed("read", &error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &error)),
    }
    Ok(text)
}

/// The databases that the file of a data directory names, before anything in it is opened.
pub(crate) fn databases(data: &Path) -> Result<Option<Databases>, Refusal> {
    match Dir::open_ambient_dir(data, cap_std::ambient_authority()) {
        Ok(dir) => Ok(load(&dir)?.1.store),
        // There is no such directory yet, or none that may be read: opening it says so.
        Err(_) => Ok(None),
    }
}

/// The token that the file of a data directory names, before anything in it is opened.
pub(crate) fn token(data: &Path) -> Result<Option<Token>, Refusal> {
    match Dir::open_ambient_dir(data, cap_std::ambient_authority()) {
        Ok(dir) => Ok(load(&dir)?.1.token),
        Err(_) => Ok(None),
    }
}

/// Writes the commented default, and what else is to be in it, unless there is a file.
pub(crate) fn write_default(dir: &Dir, section: &str) -> Result<(), Refusal> {
    match dir.open_with(FILE, OpenOptions::new().write(true).create_new(true).mode(0o600)) {
        Ok(mut file) => {
            let text = if section.is_empty() { DEFAULT.to_owned() } else { format!("{DEFAULT}\n{section}") };
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(|error| failed("written", &error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("written", &error)),
    }
}

/// Writes the file of another data directory into this one, with databases and token of this one: the ceiling holds wherever a backup is
/// restored.
pub(crate) fn put_back(dir: &Dir, text: &str, section: &str) -> Result<(), Refusal> {
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        invalid(vec![Fault { path: FILE.to_owned(), message: error.to_string() }])
    })?;
    // This machine has its own.
    document.remove("store");
    document.remove("root");
    let text = if section.is_empty() { document.to_string() } else { format!("{document}\n{section}") };
    match dir.remove_file(FILE) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("written", &error)),
        _ => {}
    }
    let mut file = dir
        .open_with(FILE, OpenOptions::new().write(true).create_new(true).mode(0o600))
        .map_err(|error| failed("written", &error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed("written", &error))
}

/// What an `opsiq.toml` says of plugins and tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorConfig {
    /// What any plugin, or a given one, may have at most.
    pub ceiling: Ceiling,
    /// How the machine is shared.
    pub fairness: Fairness,
}

/// What an `opsiq.toml` with this text would set. Uses nothing and changes nothing.
///
/// # Errors
/// Everything wrong with the text, by line.
pub fn read_config(text: &str) -> Result<OperatorConfig, Refusal> {
    parse(text).map(|(ceiling, settings)| OperatorConfig { ceiling, fairness: settings.fairness })
}

fn parse(text: &str) -> Result<(Ceiling, Settings), Refusal> {
    let (ceiling, fairness) = match (Ceiling::parse_toml(text, &OWN), Fairness::parse_toml(text)) {
        (Ok(ceiling), Ok(fairness)) => (ceiling, fairness),
        (ceiling, fairness) => {
            let mut errors: Vec<_> =
                [ceiling.err(), fairness.err()].into_iter().flatten().flat_map(|all| all.0).collect();
            errors.sort_by_key(|error| (error.line, error.column));
            // What is no TOML at all is told by both.
            errors.dedup();
            let faults = errors.iter().map(|error| Fault { path: FILE.to_owned(), message: error.to_string() });
            return Err(invalid(faults.collect()));
        }
    };
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
    let epochs = file.backup.epochs;
    if epochs.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(one("[backup] epochs: must be an absolute path".to_owned()));
    }
    Ok((
        ceiling,
        Settings {
            confirmation_ms,
            checkpoints,
            epochs,
            fairness,
            outside: file.egress,
            sso_targets: file.sso.targets(),
            store: file.store,
            token: file.root,
        },
    ))
}

#[cfg(test)]
pub(crate) fn named_databases(text: &str) -> Result<Option<Databases>, Refusal> {
    Ok(parse(text)?.1.store)
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
    use opsiq_contract::Level;

    use super::*;

    #[test]
    fn the_default_says_the_defaults() {
        let (ceiling, settings) = parse(DEFAULT).unwrap();
        assert_eq!(ceiling, Ceiling::default());
        assert_eq!(
            settings,
            Settings {
                confirmation_ms: CONFIRMATION_MS,
                checkpoints: None,
                epochs: None,
                fairness: Fairness::default(),
                outside: Outside::default(),
                sso_targets: Vec::new(),
                store: None,
                token: None,
            }
        );
    }

    #[test]
    fn its_examples_are_valid() {
        let lines = DEFAULT.lines().filter_map(|line| line.strip_prefix("# "));
        let code: Vec<_> = lines.filter(|line| line.starts_with('[') || line.contains(" = ")).collect();
        let (ceiling, settings) = parse(&code.join("\n")).unwrap();
        assert_eq!(settings.confirmation_ms, CONFIRMATION_MS);
        assert!(settings.store.is_some());
        assert_eq!(settings.sso_targets.len(), 1);
        assert_eq!(settings.token.unwrap().pkcs11_token, "opsiq");
        assert_eq!(ceiling.private_targets.len(), 1);
        assert!(ceiling.plugins["publisher/id"].denied);
        let (fairness, default) = (settings.fairness, Fairness::default());
        assert_eq!(fairness.host(), default.host(), "the text says the defaults");
        for level in [Level::Tenant, Level::Installation] {
            assert_eq!(fairness.any(level), default.any(level), "the text says the defaults");
        }
        let acme = "acme".parse().unwrap();
        assert_eq!(fairness.tenant(&acme).calls_per_minute, Some(6000));
        assert_eq!(fairness.installation(&acme, "shop", "publisher/id").weight, 200);
        assert_eq!(fairness.installation(&acme, "till", "publisher/id").concurrency, 16);
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
            ("[fairness.host]\nconcurency = 1\n", "2:"),
            ("[ceiling]\n[fairness.each-tenant]\nqueue = -1\n", "3:"),
            ("[store]\nurl = \"postgres://db/opsiq\"\n", "keys"),
            ("[backup]\nepochs = \"elsewhere\"\n", "absolute"),
            ("[audit]\nkept = \"/elsewhere\"\n", "2"),
            ("[egress]\nname-servers = [\"dns.example\"]\n", "line 2"),
            ("[egress]\nroots = [\"ca.pem\"]\n", "absolute"),
            ("[egress]\ntls12 = [\"Legacy.example\"]\n", "lower case"),
            ("[egress]\nname-server = []\n", "line 2"),
            ("[[sso.private-target]]\ncidr = \"10.1.2.3/16\"\nport = 1\n", "10.1.0.0/16"),
            ("[[sso.private-target]]\ncidr = \"0.0.0.0/0\"\nport = 1\n", "exact network"),
            ("[[sso.private-target]]\ncidr = \"10.1.2.3/32\"\n", "port"),
            ("[sso]\nprovider = 1\n", "line 2"),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.code, "config.file");
            assert!(refusal.faults[0].message.contains(says), "{text}: {refusal}");
        }
    }
}
