//! The WIT package, and in it the one world that a contract calls for.
//!
//! Toolchains of interpreters import the whole of a world whether the code uses it or not, so theirs holds exactly what
//! the contract gives; the encoder for Rust leaves out what is not reached, so it takes a world as released.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use opsiq_contract::Contract;
use opsiq_contract::component::may_import;

use super::error::BuildError;

/// The WIT package that plugins are written against, as released.
pub(super) const WIT: [(&str, &str); 3] = [
    ("types.wit", include_str!("../../../../../wit/0.1.0/types.wit")),
    ("host.wit", include_str!("../../../../../wit/0.1.0/host.wit")),
    ("worlds.wit", include_str!("../../../../../wit/0.1.0/worlds.wit")),
];

/// The name of the world made here.
pub(super) const WORLD: &str = "plugin";

/// Everything a plugin may import, when its contract calls for it.
const INTERFACES: [&str; 8] = ["context", "keys", "audit", "log", "clock", "random", "http", "kv"];

/// The interfaces that a contract gives.
pub(super) fn interfaces(contract: &Contract) -> Vec<&'static str> {
    let given = |name: &&str| may_import(contract, &format!("opsiq:plugin/{name}@0.1.0"));
    INTERFACES.into_iter().filter(given).collect()
}

/// The world as text.
fn world(contract: &Contract) -> String {
    let mut text = format!("package opsiq:plugin@0.1.0;\n\nworld {WORLD} {{\n");
    for interface in interfaces(contract) {
        let _ = writeln!(text, "    import {interface};");
    }
    text.push_str("    export actions;\n");
    if !contract.webhooks.is_empty() {
        text.push_str("    export webhooks;\n");
    }
    text.push_str("}\n");
    text
}

/// Writes the package with the contract's world into `dir`, which must be empty.
///
/// # Errors
/// [`BuildError::Io`].
pub(super) fn write(dir: &Path, contract: &Contract) -> Result<(), BuildError> {
    write_package(dir, Some(contract)).map(drop)
}

/// Writes the package into `dir`, and the world [`WORLD`] where there is a contract that calls for it. Answers the files.
///
/// # Errors
/// [`BuildError::Io`]; also when a file of that name is there.
pub(crate) fn write_package(dir: &Path, contract: Option<&Contract>) -> Result<Vec<PathBuf>, BuildError> {
    std::fs::create_dir_all(dir).map_err(|error| BuildError::io("create", dir, error))?;
    let made = contract.map(world);
    let files = WIT.into_iter().chain(made.as_deref().map(|text| ("plugin.wit", text)));
    files
        .map(|(name, text)| {
            let path = dir.join(name);
            let new = std::fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
            new.map_err(|error| BuildError::io("write", &path, error))?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = r#"
contract = 1
http = [{ name = "h", methods = ["GET"], url = "https://a.example.com/" }]
[plugin]
id = "t"
version = "0.1.0"
kind = "connector"
title = "T"
summary = "T."
publisher = "p"
[[action]]
name = "a"
title = "A"
effect = "read"
scope = "a:read"
roles = ["owner"]
http = ["h"]
params = { type = "object" }
result = { type = "object" }
"#;

    #[test]
    fn a_world_holds_what_the_contract_gives() {
        let contract = Contract::parse_toml(CONTRACT).unwrap();
        assert_eq!(interfaces(&contract), ["context", "log", "clock", "random", "http"]);
        assert!(world(&contract).contains("import http;\n    export actions;\n}"), "{}", world(&contract));
        let with =
            Contract::parse_toml(&format!("{CONTRACT}\n[kv]\nmax = \"1KiB\"\n[[audit]]\nevent = \"a.b\"")).unwrap();
        assert_eq!(interfaces(&with), ["context", "audit", "log", "clock", "random", "http", "kv"]);
    }

    #[test]
    fn the_package_is_sound_with_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &Contract::parse_toml(CONTRACT).unwrap()).unwrap();
        let mut sources = wit_parser::SourceMap::default();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            sources.push_str(path.to_str().unwrap(), std::fs::read_to_string(&path).unwrap());
        }
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_group(sources.parse().map_err(|(_, error)| error).unwrap()).unwrap();
        resolve.select_world(&[package], Some(WORLD)).unwrap();
    }
}
