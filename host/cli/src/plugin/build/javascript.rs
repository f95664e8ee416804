//! From a JavaScript package to a component: an engine with the plugin's code loaded and its snapshot taken. `QuickJS` unless
//! `package.json` asks for another.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use opsiq_contract::Contract;
use serde::Deserialize;
use serde_json::json;

use super::error::BuildError;
use super::kit::{Kit, tail, tool};
use super::{Made, Options, world};

/// What runs the plugin's code, inside the component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    /// Small and quick to load; the web's APIs as far as the SDK has them.
    #[default]
    QuickJs,
    /// `SpiderMonkey` with the web's APIs: ten times as large.
    StarlingMonkey,
}

impl Engine {
    /// The word in `package.json`.
    fn word(self) -> &'static str {
        match self {
            Self::QuickJs => "quickjs",
            Self::StarlingMonkey => "starlingmonkey",
        }
    }

    /// The programs that put it into a component.
    fn kit(self) -> &'static Kit<'static> {
        match self {
            Self::QuickJs => &QUICKJS,
            Self::StarlingMonkey => &STARLINGMONKEY,
        }
    }
}

const NODE: &str = "install Node.js 20 or newer, which brings npm:\napt-get install nodejs npm        (Debian, Ubuntu)";
const INSTALL: &[&str] = &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
const BUILD: (&str, &str) = ("build.mjs", include_str!("../../../../../sdk/js/toolchain/build.mjs"));

static QUICKJS: Kit<'_> = Kit {
    name: "componentize-qjs 0.4.5 and esbuild 0.28.2",
    folder: "javascript",
    interpreter: "node",
    get: NODE,
    files: &[
        ("package.json", include_str!("../../../../../sdk/js/toolchain/package.json")),
        ("package-lock.json", include_str!("../../../../../sdk/js/toolchain/package-lock.json")),
        BUILD,
    ],
    install: INSTALL,
};

static STARLINGMONKEY: Kit<'_> = Kit {
    name: "componentize-js 0.23.0 and esbuild 0.28.2",
    folder: "starlingmonkey",
    interpreter: "node",
    get: NODE,
    files: &[
        ("package.json", include_str!("../../../../../sdk/js/toolchain/starlingmonkey/package.json")),
        ("package-lock.json", include_str!("../../../../../sdk/js/toolchain/starlingmonkey/package-lock.json")),
        BUILD,
    ],
    install: INSTALL,
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
    #[serde(default)]
    opsiq: Settings,
}

/// What it says about this build. A word that says nothing here is a mistake.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    engine: Engine,
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
    let (code, engine) = entry(dir)?;
    let programs = engine.kit();
    let kit = programs.ready(options.offline, progress)?;
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

    progress(&format!("Building {} with {}", contract.plugin.id, programs.name));
    let component = at("component.wasm");
    let wanted = json!({
        "entry": at("entry.js"),
        "root": dir,
        "modules": dir.join("node_modules"),
        "alias": { "@opsiq/sdk": at("sdk/index.js") },
        "wit": at("wit"),
        "world": world::WORLD,
        "engine": engine.word(),
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
    Ok(Made { component, out, toolchain: programs.name.to_owned(), remarks: said })
}

/// The plugin's own code, which is what `main` in `package.json` names, else `index.js`; and the engine it asks for.
fn entry(dir: &Path) -> Result<(PathBuf, Engine), BuildError> {
    let path = dir.join("package.json");
    let text = std::fs::read(&path).map_err(|error| BuildError::io("read", &path, error))?;
    let package: Package = serde_json::from_slice(&text).map_err(|error| BuildError::Project {
        path: path.clone(),
        why: format!("not what npm and this build take: {error}"),
        fix: "write a JSON object, such as { \"type\": \"module\", \"main\": \"index.js\" }; with \"opsiq\": { \"engine\": \
              \"starlingmonkey\" } for another engine than quickjs"
            .into(),
    })?;
    let main = package.main.unwrap_or_else(|| "index.js".to_owned());
    let code = dir.join(&main).canonicalize().map_err(|_| BuildError::Project {
        path,
        why: format!("its `main`, {main}, is not there"),
        fix: "name the file whose default export has a method for each action".into(),
    })?;
    Ok((code, package.opsiq.engine))
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
        let (code, engine) = entry(dir.path()).unwrap();
        assert!(code.ends_with("index.js") && engine == Engine::QuickJs);
        write("package.json", r#"{ "opsiq": { "engine": "starlingmonkey" } }"#);
        assert_eq!(entry(dir.path()).unwrap().1, Engine::StarlingMonkey);
        for wrong in [r#"{ "opsiq": { "engine": "v8" } }"#, r#"{ "opsiq": { "motor": "quickjs" } }"#] {
            write("package.json", wrong);
            assert!(
                matches!(entry(dir.path()), Err(BuildError::Project { fix, .. }) if fix.contains("starlingmonkey"))
            );
        }
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
