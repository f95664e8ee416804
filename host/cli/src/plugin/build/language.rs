//! Which language a plugin is written in: what its directory holds says so.

use std::fmt;
use std::path::Path;

use super::error::BuildError;

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// A crate, by its `Cargo.toml`.
    Rust,
    /// A package, by its `package.json`.
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// A project, by its `pyproject.toml`.
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The file that says so.
    fn manifest(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    /// The language of the plugin in `dir`. A crate stays one whatever else lies beside it.
    ///
    /// # Errors
    /// [`BuildError::Project`] where nothing says so.
    pub(crate) fn of(dir: &Path) -> Result<Self, BuildError> {
        Self::ALL.into_iter().find(|language| dir.join(language.manifest()).is_file()).ok_or_else(|| {
            BuildError::Project {
                path: dir.to_owned(),
                why: "nothing here says which language the plugin is written in".into(),
                fix: "add Cargo.toml (Rust), package.json (JavaScript) or pyproject.toml (Python); `opsiq plugin new` \
                      writes a whole plugin"
                    .into(),
            }
        })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_says_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Language::of(dir.path()), Err(BuildError::Project { .. })));
        for language in [Language::Python, Language::JavaScript, Language::Rust] {
            std::fs::write(dir.path().join(language.manifest()), "").unwrap();
            assert_eq!(Language::of(dir.path()).unwrap(), language, "and what lies beside it does not count");
        }
    }
}
