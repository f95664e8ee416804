//! From a Python project to a component: the interpreter `CPython`, with the plugin's code loaded and its snapshot taken.

use std::path::{Path, PathBuf};

use opsiq_contract::Contract;
use serde_json::json;

use super::error::BuildError;
use super::kit::{Kit, tail, tool};
use super::{Made, Options, requirements, world};

/// How to get Python.
pub(super) const GET: &str =
    "install Python 3.11 or newer with pip:\napt-get install python3 python3-pip        (Debian, Ubuntu)";

const KIT: Kit<'_> = Kit {
    name: "componentize-py 0.25.1",
    folder: "python",
    interpreter: "python3",
    get: GET,
    files: &[("requirements.txt", include_str!("../../../../../sdk/python/toolchain/requirements.txt"))],
    install: &[
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary=:all:",
        "--require-hashes",
        "--target=.",
        "--requirement=requirements.txt",
    ],
};

/// The SDK, so that a plugin is always built with the one that fits this host.
const SDK: [(&str, &str); 8] = [
    ("__init__.py", include_str!("../../../../../sdk/python/opsiq_sdk/__init__.py")),
    ("context.py", include_str!("../../../../../sdk/python/opsiq_sdk/context.py")),
    ("failure.py", include_str!("../../../../../sdk/python/opsiq_sdk/failure.py")),
    ("host.py", include_str!("../../../../../sdk/python/opsiq_sdk/host.py")),
    ("http.py", include_str!("../../../../../sdk/python/opsiq_sdk/http.py")),
    ("serve.py", include_str!("../../../../../sdk/python/opsiq_sdk/serve.py")),
    ("startup.py", include_str!("../../../../../sdk/python/opsiq_sdk/startup.py")),
    ("url.py", include_str!("../../../../../sdk/python/opsiq_sdk/url.py")),
];

/// The module that is loaded; the plugin's own is `plugin`.
const ENTRY: &str = "opsiq_entry";

/// Starts the program of the kit, whose folder is the first argument, without the modules of this machine.
const START: &str = "import sys; sys.path.insert(0, sys.argv[1]); sys.argv[:2] = ['componentize-py']; \
                     from componentize_py import script; sys.exit(script())";

/// Builds the project in `dir`.
///
/// # Errors
/// Whatever stops a step, with the toolchain's own words.
pub(super) fn build(
    dir: &Path,
    contract: &Contract,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let code = dir.join("plugin.py");
    if !code.is_file() {
        return Err(BuildError::Project {
            path: code,
            why: "there is no such file".into(),
            fix: "write it, with a class Plugin that has a method for each action".into(),
        });
    }
    let kit = KIT.ready(options.offline, progress)?;
    let packages = requirements::ready(dir, options.offline, progress)?;
    let work =
        tempfile::tempdir().map_err(|error| BuildError::io("create a folder in", &std::env::temp_dir(), error))?;
    let at = |name: &str| work.path().join(name);
    let write =
        |path: PathBuf, text: &str| std::fs::write(&path, text).map_err(|error| BuildError::io("write", &path, error));
    world::write(&at("wit"), contract)?;
    // Where the toolchain looks for modules of this machine, none.
    for folder in ["modules/opsiq_sdk", "none/lib/python3/site-packages"] {
        std::fs::create_dir_all(at(folder)).map_err(|error| BuildError::io("create", &at(folder), error))?;
    }
    for (name, text) in SDK {
        write(at("modules/opsiq_sdk").join(name), text)?;
    }
    write(at("modules").join(format!("{ENTRY}.py")), &glue(contract))?;

    progress(&format!("Building {} with {}", contract.plugin.id, KIT.name));
    let component = at("component.wasm");
    let mut command = tool("python3");
    command
        .args(["-S", "-c", START])
        .arg(&kit)
        .args(["--quiet", "--wit-path"])
        .arg(at("wit"))
        .args(["--world", world::WORLD, "componentize", "--stub-wasi", "--python-path"])
        .arg(at("modules"))
        .arg("--python-path")
        .arg(dir);
    if let Some(packages) = packages {
        command.arg("--python-path").arg(packages);
    }
    let output = command
        .arg("--output")
        .arg(&component)
        .arg(ENTRY)
        .env("VIRTUAL_ENV", at("none"))
        .current_dir(work.path())
        .output()
        .map_err(|error| BuildError::io("run", Path::new("python3"), error))?;
    let said = tail(&output.stderr);
    if !output.status.success() {
        let what = format!("building {}", contract.plugin.id);
        return Err(BuildError::Program { what, status: output.status.to_string(), output: said });
    }
    let component = std::fs::read(&component).map_err(|error| BuildError::io("read", &component, error))?;
    let out = dir.join("build").join(format!("{}.wasm", contract.plugin.id));
    Ok(Made { component, out, toolchain: KIT.name.to_owned(), remarks: said })
}

/// The module that is loaded: the host's interfaces in, the component's exports out.
fn glue(contract: &Contract) -> String {
    let given = world::interfaces(contract);
    let names = |all: Vec<&str>| json!(all).to_string();
    let actions = names(contract.actions.iter().map(|action| action.name.as_str()).collect());
    let webhooks = names(contract.webhooks.iter().map(|webhook| webhook.name.as_str()).collect());
    let interfaces = given.iter().map(|name| format!("\"{name}\": {name}")).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "from opsiq_sdk import host, startup\n\
         from opsiq_sdk.serve import Service\n\
         from componentize_py_types import Err\n\
         from wit_world import exports\n\
         from wit_world.imports import types, {}\n\
         \n\
         host.give({{{interfaces}}})\n\
         import plugin\n\
         \n\
         _service = Service(plugin, {actions}, {webhooks}, types, Err)\n\
         \n\
         \n\
         class Actions(exports.Actions):\n    \
             def invoke(self, action, params):\n        \
                 return _service.invoke(action, params)\n",
        given.join(", ")
    );
    if !contract.webhooks.is_empty() {
        text.push_str(
            "\n\nclass Webhooks(exports.Webhooks):\n    \
             def receive(self, name, delivery):\n        \
                 _service.receive(name, delivery)\n",
        );
    }
    text.push_str("\n\nstartup.seal()\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the SDK that is not listed would be missing in every build.
    #[test]
    fn the_sdk_is_whole() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/opsiq_sdk");
        let there = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut there = there.filter(|name| name != "__pycache__").collect::<Vec<_>>();
        there.sort();
        assert_eq!(there, SDK.map(|(name, _)| name.to_owned()).to_vec());
    }
}
