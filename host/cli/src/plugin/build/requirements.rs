//! `requirements.txt` of a plugin in Python: packages from the registry that pip is set to, each file of them under a hash that
//! the author wrote down.
//!
//! Nothing of a package runs while it is fetched: only wheels are taken, and of those only pure ones, because an interpreter
//! in a component loads no machine code. A file that says more than packages and hashes is refused, since pip would take its
//! options over ours.

use std::path::{Path, PathBuf};

use super::error::BuildError;
use super::kit::Kit;
use super::python::GET;

/// The file's name.
const FILE: &str = "requirements.txt";

/// Only wheels for any platform and the Python inside the component.
const INSTALL: &[&str] = &[
    "python3",
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--no-deps",
    "--require-hashes",
    "--only-binary=:all:",
    "--platform=any",
    "--implementation=py",
    "--abi=none",
    "--python-version=3.14",
    "--target=.",
    "--requirement=requirements.txt",
];

/// The folder with the packages of the plugin in `dir`, fetched where it is not there yet; `None` where it asks for none.
///
/// # Errors
/// [`BuildError::Project`] for what can be no part of a plugin, by line or by package; [`BuildError::NoKit`] when pip or its
/// registry is out of reach.
pub(super) fn ready(dir: &Path, offline: bool, progress: &mut dyn FnMut(&str)) -> Result<Option<PathBuf>, BuildError> {
    let path = dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::io("read", &path, error)),
    };
    let wrong = |why: String, fix: &str| BuildError::Project { path: path.clone(), why, fix: fix.to_owned() };
    if !pinned(&text).map_err(|(line, why)| wrong(format!("line {line}: {why}"), PIN))? {
        return Ok(None);
    }
    let kit = Kit {
        name: "the packages of requirements.txt",
        folder: "python-packages",
        interpreter: "python3",
        get: GET,
        files: &[(FILE, &text)],
        install: INSTALL,
    };
    let folder = kit.ready(offline, progress).map_err(|error| match error {
        BuildError::NoKit { what, why, fix } => match refused(&why) {
            Some((said, fix)) => wrong(said, fix),
            None => BuildError::NoKit { what, why, fix },
        },
        other => other,
    })?;
    match native(&folder).map_err(|error| BuildError::io("look through", &folder, error))? {
        None => Ok(Some(folder)),
        Some(file) => Err(wrong(format!("{} is machine code", file.display()), PURE)),
    }
}

const PIN: &str = "write NAME==VERSION --hash=sha256:... for each package and for each it needs; `pip-compile --generate-hashes` \
                   and `uv pip compile --generate-hashes` do";
const HASH: &str = "write the hash of the wheel in pure Python (py3-none-any), as the registry that you trust gives it";
const PURE: &str =
    "a component runs no machine code: name versions that have a wheel in pure Python (py3-none-any), with its hash";

/// Whether there is any package, all of them pinned by version and hash, and nothing else; else the line that is not, and why.
fn pinned(text: &str) -> Result<bool, (usize, &'static str)> {
    let mut any = false;
    let mut begun: Option<(usize, String)> = None;
    for (number, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim();
        let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default().trim() };
        let (start, mut whole) = begun.take().unwrap_or((number + 1, String::new()));
        let goes_on = line.strip_suffix('\\');
        whole.push_str(goes_on.unwrap_or(line));
        whole.push(' ');
        if goes_on.is_some() {
            begun = Some((start, whole));
            continue;
        }
        let mut words = whole.split_whitespace();
        let Some(name) = words.next() else { continue };
        if name.starts_with('-') {
            return Err((start, "an option; there can be packages and nothing else"));
        }
        if !whole.contains("==") || whole.contains('@') {
            return Err((start, "not pinned to one version"));
        }
        let options: Vec<&str> = whole.split_whitespace().filter(|word| word.starts_with('-')).collect();
        if options.iter().any(|word| !word.starts_with("--hash=sha256:")) {
            return Err((start, "an option other than --hash=sha256:..."));
        }
        if options.is_empty() {
            return Err((start, "without a hash"));
        }
        any = true;
    }
    Ok(any)
}

/// What pip said against the packages, in a line, and what to do; `None` where it had no answer.
fn refused(said: &str) -> Option<(String, &'static str)> {
    let fix = if said.contains("DO NOT MATCH THE HASHES") {
        HASH
    } else if said.contains("No matching distribution") && !said.contains("Retrying") {
        PURE
    } else {
        return None;
    };
    let errors = said.lines().filter_map(|line| line.strip_prefix("ERROR: "));
    Some((errors.collect::<Vec<_>>().join("; "), fix))
}

/// The first file of machine code in `folder`.
fn native(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    const ENDINGS: [&str; 4] = ["so", "pyd", "dylib", "dll"];
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = native(&path)? {
                return Ok(Some(found));
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_pinned_and_nothing_else_is_there() {
        let hash = "--hash=sha256:00";
        assert_eq!(pinned(&format!("# what we need\nsix==1.17.0 \\\n    {hash} \\\n    {hash}\n\n")), Ok(true));
        assert_eq!(pinned("\n# nothing\n"), Ok(false));
        for (text, line, why) in [
            (format!("six==1 {hash}\n--index-url https://a.example"), 2, "option"),
            ("\n-e .".to_owned(), 2, "option"),
            (format!("six>=1 {hash}"), 1, "one version"),
            (format!("six @ https://a.example/six-1==2.whl {hash}"), 1, "one version"),
            ("six==1".to_owned(), 1, "hash"),
            (format!("six==1 {hash} --config-settings=a=b"), 1, "other than"),
            (format!("six==1 \\\n --no-binary=six {hash}"), 1, "other than"),
        ] {
            let (at, said) = pinned(&text).unwrap_err();
            assert!(at == line && said.contains(why), "{text}: {at} {said}");
        }
    }

    #[test]
    fn what_pip_says_is_told_in_a_line() {
        let none = "`pip` failed\nERROR: Could not find it\nERROR: No matching distribution found for a==1";
        let (said, fix) = refused(none).unwrap();
        assert_eq!((said.as_str(), fix), ("Could not find it; No matching distribution found for a==1", PURE));
        assert_eq!(refused("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Got x").unwrap().1, HASH);
        assert_eq!(refused(&format!("WARNING: Retrying\n{none}")), None, "the registry is out of reach");
    }

    #[test]
    fn machine_code_is_found_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/c.py"), "").unwrap();
        assert_eq!(native(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join("a/b/speed.cpython-314-x86_64-linux-gnu.so"), "").unwrap();
        assert!(native(dir.path()).unwrap().unwrap().ends_with("a/b/speed.cpython-314-x86_64-linux-gnu.so"));
    }
}
