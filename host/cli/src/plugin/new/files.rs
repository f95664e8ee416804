//! The files of every template.

use super::Template;
use crate::plugin::build::Language;

/// A file's place in the new directory, and its text with placeholders.
type File = (&'static str, &'static str);

const README: File = ("README.md", include_str!("templates/README.md"));
const HELLO: File = ("contract.toml", include_str!("templates/hello.toml"));
const HELLO_CASES: &[File] = &[("tests/hello-in-german.toml", include_str!("templates/hello.case.toml"))];
const CONNECTOR_CASES: &[File] = &[
    ("tests/get-item.toml", include_str!("templates/connector.read.toml")),
    ("tests/add-item.toml", include_str!("templates/connector.write.toml")),
];
const CONNECTOR: File = ("contract.toml", include_str!("templates/connector.toml"));

/// The files of a template in a language.
pub(super) fn of(language: Language, template: Template) -> Vec<File> {
    let (contract, code) = match (template, language) {
        (Template::Hello, Language::Rust) => (HELLO, include_str!("templates/hello.rs.txt")),
        (Template::Hello, Language::JavaScript) => (HELLO, include_str!("templates/hello.js")),
        (Template::Hello, Language::Python) => (HELLO, include_str!("templates/hello.py")),
        (Template::Connector, Language::Rust) => (CONNECTOR, include_str!("templates/connector.rs.txt")),
        (Template::Connector, Language::JavaScript) => (CONNECTOR, include_str!("templates/connector.js")),
        (Template::Connector, Language::Python) => (CONNECTOR, include_str!("templates/connector.py")),
    };
    let own: Vec<File> = match language {
        Language::Rust => vec![
            ("Cargo.toml", include_str!("templates/Cargo.toml.txt")),
            ("src/lib.rs", code),
            (".gitignore", "/target\n"),
        ],
        Language::JavaScript => vec![
            ("package.json", include_str!("templates/package.json")),
            ("jsconfig.json", include_str!("templates/jsconfig.json")),
            ("index.js", code),
            (".gitignore", "build/\ntypes/\nnode_modules/\n"),
        ],
        Language::Python => vec![
            ("pyproject.toml", include_str!("templates/pyproject.toml")),
            ("plugin.py", code),
            (".gitignore", "build/\ncontract.py\n__pycache__/\n"),
        ],
    };
    let cases = match template {
        Template::Hello => HELLO_CASES,
        Template::Connector => CONNECTOR_CASES,
    };
    [contract, README].into_iter().chain(own).chain(cases.iter().copied()).collect()
}

/// A text with its placeholders filled in.
pub(super) fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{sdk}}", SDK).replace("{{out}}", &format!("{name}.wasm"))
}

/// Where a crate outside this workspace finds the SDK, until it is in a registry.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/rust");
