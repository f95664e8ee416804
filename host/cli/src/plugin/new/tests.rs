use super::*;
use crate::plugin::build::read_contract;

/// Lines of code or contract: what is neither empty nor a comment.
fn lines(text: &str) -> usize {
    let counts =
        |line: &&str| !line.is_empty() && !["//", "#", "/*", "*", "\"\"\""].iter().any(|c| line.starts_with(c));
    text.lines().map(str::trim).filter(counts).count()
}

#[test]
fn every_template_is_written_with_a_sound_contract() {
    for language in [Language::Rust, Language::JavaScript, Language::Python] {
        for template in [Template::Hello, Template::Connector] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("my-shop");
            let files = write(&dir, "my-shop", language, template).unwrap();
            assert_eq!(read_contract(&dir).unwrap().plugin.id, "my-shop");
            assert_eq!(Language::of(&dir).unwrap(), language);
            assert!(!opsiq_testkit::find(&dir.join("tests")).unwrap().is_empty());
            for file in files {
                assert!(!std::fs::read_to_string(&file).unwrap().contains("{{"), "{}", file.display());
            }
        }
    }
}

/// What the first minutes of an author cost.
#[test]
fn a_hello_is_short() {
    for (language, code) in
        [(Language::Rust, "src/lib.rs"), (Language::JavaScript, "index.js"), (Language::Python, "plugin.py")]
    {
        for (path, text) in files::of(language, Template::Hello) {
            assert!(
                !(path == code || path == "contract.toml") || lines(text) <= 20,
                "{path} of {language}: {}",
                lines(text)
            );
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let refused = write(dir.path(), "my-shop", Language::Python, Template::Hello).unwrap_err();
    assert_eq!((refused.exit, refused.code.as_str()), (Exit::Refused, "new.exists"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
