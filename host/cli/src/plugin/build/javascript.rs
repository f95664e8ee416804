//! From a JavaScript package to a component: the interpreter `QuickJS`, with the plugin's code loaded and its snapshot taken.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use opsiq_contract::Contract;
use serde::Deserialize;
use serde_json::json;

use super::error::BuildError;
use super::kit::{Kit, tail, tool};
use super::{Made, Options, world};

const KIT: Kit = Kit {
    name: "componentize-qjs 0.4.5 and esbuild 0.28.2",
    folder: "javascript",
    interpreter: "node",
    get: "install Node.js 20 or newer, which brings npm:\napt-get install nodejs npm        (Debian, Ubuntu)",
    files: &[
        ("package.json", include_str!("../../../../../sdk/js/toolchain/package.json")),
        ("package-lock.json", include_str!("../../../../../sdk/js/toolchain/package-lock.json")),
        ("build.mjs", include_str!("../../../../../sdk/js/toolchain/build.mjs")),
    ],
    install: &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
};

/// The SDK, so that a plugin is always built with the one that fits this host.
const SDK: [(&str, &str); 10] = [
    ("index.js", include_str!("../../../../../sdk/js/src/index.js")),
    ("context.js", include_str!("../../../../../sdk/js/src/context.js")),
    ("failure.js", include_str!("../../../../../sdk/js/src/failure.js")),
    ("fetch.js", include_str!("../../../../../sdk/js/src/fetch.js")),
    ("globals.js", include_str!("../../../../../sdk/js/src/globals.js")),
    ("host.js", include_str!("../../../../../sdk/js/src/host.js")),
    ("promise.js", include_str!("../../../../../sdk/js/src/promise.js")),
    ("serve.js", include_str!("../../../../../sdk/js/src/serve.js")),
    ("text.js", include_str!("../../../../../sdk/js/src/text.js")),
    ("url.js", include_str!("../../../../../sdk/js/src/url.js")),
];

/// What of `package.json` counts here.
#[derive(Deserialize)]
struct Package {
    main: Option<String>,
}

/// Builds the package in `dir`.
///
/// # Errors
/// Whatever stops a step, with the toolchain's own words.
pub(super) fn build(
    dir: &Path,
    contract: &Contract,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let code = entry(dir)?;
    let kit = KIT.ready(options.offline, progress)?;
    let work =
        tempfile::tempdir().map_err(|error| BuildError::io("create a folder in", &std::env::temp_dir(), error))?;
    let at = |name: &str| work.path().join(name);
    let write =
        |path: PathBuf, text: &str| std::fs::write(&path, text).map_err(|error| BuildError::io("write", &path, error));
    world::write(&at("wit"), contract)?;
    std::fs::create_dir(at("sdk")).map_err(|error| BuildError::io("create", &at("sdk"), error))?;
    for (name, text) in SDK {
        write(at("sdk").join(name), text)?;
    }
    write(at("entry.js"), &glue(contract, &code))?;

    progress(&format!("Building {} with {}", contract.plugin.id, KIT.name));
    let component = at("component.wasm");
    let wanted = json!({
        "entry": at("entry.js"),
        "root": dir,
        "modules": dir.join("node_modules"),
        "alias": { "@opsiq/sdk": at("sdk/index.js") },
        "wit": at("wit"),
        "world": world::WORLD,
        "names": options.names,
        "out": component,
    });
    let output = tool("node")
        .arg(kit.join("build.mjs"))
        .arg(wanted.to_string())
        .output()
        .map_err(|error| BuildError::io("run", Path::new("node"), error))?;
    let said = tail(&output.stderr).replace(&work.path().display().to_string(), "");
    if !output.status.success() {
        let what = format!("building {}", contract.plugin.id);
        return Err(BuildError::Program { what, status: output.status.to_string(), output: said });
    }
    let component = std::fs::read(&component).map_err(|error| BuildError::io("read", &component, error))?;
    let out = dir.join("build").join(format!("{}.wasm", contract.plugin.id));
    Ok(Made { component, out, toolchain: KIT.name.to_owned(), remarks: said })
}

/// The plugin's own code: what `main` in `package.json` names, else `index.js`.
fn entry(dir: &Path) -> Result<PathBuf, BuildError> {
    let path = dir.join("package.json");
    let text = std::fs::read(&path).map_err(|error| BuildError::io("read", &path, error))?;
    let package: Package = serde_json::from_slice(&text).map_err(|error| BuildError::Project {
        path: path.clone(),
        why: format!("not what npm takes: {error}"),
        fix: "write a JSON object, such as { \"type\": \"module\", \"main\": \"index.js\" }".into(),
    })?;
    let main = package.main.unwrap_or_else(|| "index.js".to_owned());
    dir.join(&main).canonicalize().map_err(|_| BuildError::Project {
        path,
        why: format!("its `main`, {main}, is not there"),
        fix: "name the file whose default export has a method for each action".into(),
    })
}

/// The module that is compiled: the host's interfaces in, the component's exports out.
fn glue(contract: &Contract, code: &Path) -> String {
    let given = world::interfaces(contract);
    let mut text = String::from("import './sdk/globals.js';\nimport { serve } from './sdk/serve.js';\n");
    for name in &given {
        let _ = writeln!(text, "import * as {name} from 'opsiq:plugin/{name}@0.1.0';");
    }
    let names = |all: Vec<&str>| json!(all).to_string();
    let actions = names(contract.actions.iter().map(|action| action.name.as_str()).collect());
    let webhooks = names(contract.webhooks.iter().map(|webhook| webhook.name.as_str()).collect());
    let exports = if contract.webhooks.is_empty() { "actions" } else { "actions, webhooks" };
    let _ = write!(
        text,
        "import * as plugin from {};\n\
         export const {{ {exports} }} = serve(plugin, {{ actions: {actions}, webhooks: {webhooks} }}, {{ {} }});\n",
        json!(code),
        given.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_what_main_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("package.json", "{}");
        assert!(matches!(entry(dir.path()), Err(BuildError::Project { why, .. }) if why.contains("index.js")));
        write("index.js", "");
        assert!(entry(dir.path()).unwrap().ends_with("index.js"));
        write("package.json", r#"{ "main": "plugin.ts" }"#);
        assert!(matches!(entry(dir.path()), Err(BuildError::Project { why, .. }) if why.contains("plugin.ts")));
        write("package.json", "no JSON");
        assert!(matches!(entry(dir.path()), Err(BuildError::Project { why, .. }) if why.contains("npm")));
    }

    /// A file of the SDK that is not listed would be missing in every build.
    #[test]
    fn the_sdk_is_whole() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/js/src");
        let there = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut there = there.collect::<Vec<_>>();
        there.sort();
        let mut listed = SDK.map(|(name, _)| name.to_owned()).to_vec();
        listed.sort();
        assert_eq!(there, listed);
    }
}
