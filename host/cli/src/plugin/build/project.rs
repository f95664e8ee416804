//! What cargo knows of the crate: its name, its library, its target directory.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::BuildError;
use super::toolchain::Toolchain;

/// A crate that can become a plugin.
#[derive(Debug)]
pub(super) struct Project {
    /// The package's name.
    pub(super) package: String,
    /// Its `Cargo.toml`.
    pub(super) manifest: PathBuf,
    /// Root of the workspace, or of the crate where it is none.
    pub(super) root: PathBuf,
    /// The target directory cargo would use for it.
    pub(super) target_dir: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// Asks cargo about the crate in `dir`.
///
/// # Errors
/// [`BuildError::Project`] where there is no crate or none of the right type, [`BuildError::Program`] with cargo's own
/// words where it fails.
pub(super) fn inspect(dir: &Path, toolchain: &Toolchain) -> Result<Project, BuildError> {
    let manifest = dir.join("Cargo.toml");
    let Ok(manifest) = manifest.canonicalize() else {
        return Err(BuildError::Project {
            path: manifest,
            why: "there is no such file".into(),
            fix: "name the directory of a plugin's crate".into(),
        });
    };
    let output = toolchain
        .cargo_for_metadata(dir)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .map_err(|error| BuildError::io("run", toolchain.cargo(), error))?;
    if !output.status.success() {
        return Err(BuildError::Program {
            what: "cargo metadata".into(),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        });
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| BuildError::Program {
        what: "reading cargo metadata".into(),
        status: "not understood".into(),
        output: error.to_string(),
    })?;
    let Some(package) = metadata.packages.into_iter().find(|package| package.manifest_path == manifest) else {
        return Err(BuildError::Project {
            path: manifest,
            why: "a workspace without a crate of its own".into(),
            fix: "name the directory of one of its crates".into(),
        });
    };
    if !package.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib")) {
        return Err(BuildError::Project {
            path: manifest,
            why: "no `cdylib`, which a plugin is".into(),
            fix: "add\n[lib]\ncrate-type = [\"cdylib\"]".into(),
        });
    }
    Ok(Project {
        package: package.name,
        manifest,
        root: metadata.workspace_root,
        target_dir: metadata.target_directory,
    })
}
