//! What is thought of an import or an export, and what its author can do about it.
//!
//! Every import is judged by its name alone, so that `opsiq plugin inspect` can explain any component: a name that is not
//! on the list is refused.

use super::foreign;
use super::scan::{Item, Scan};
use super::{Finding, Judgement, Problem, WIT_PACKAGE};
use crate::model::{Contract, KeyUse, PluginKind};

const NAMESPACE: &str = "opsiq:plugin";
const ACTIONS: &str = "opsiq:plugin/actions@0.1.0";
const WEBHOOKS: &str = "opsiq:plugin/webhooks@0.1.0";

pub(super) fn finding(
    item: &Item,
    judgement: Judgement,
    code: &'static str,
    why: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { name: item.shown(), judgement, why: why.into(), fix: fix.into(), code }
}

pub(super) fn refused(item: &Item, code: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(item, Judgement::Refused, code, why, fix)
}

/// `namespace:package/interface@version` as package, interface and version.
fn split(name: &str) -> Option<(&str, &str, Option<&str>)> {
    let (package, rest) = name.split_once('/')?;
    let (interface, version) =
        rest.split_once('@').map_or((rest, None), |(interface, version)| (interface, Some(version)));
    Some((package, interface, version))
}

pub(super) fn import(item: &Item, contract: Option<&Contract>) -> Finding {
    let Some((package, interface, version)) = split(&item.name) else {
        return refused(
            item,
            "import.unknown",
            "not an interface this host offers",
            format!("import only {WIT_PACKAGE}"),
        );
    };
    if let Some(world) = contract.and_then(|contract| contract.plugin.world) {
        let connects = contract.is_some_and(|contract| !contract.http.is_empty());
        return foreign::import(item, world, connects, (package, interface, version));
    }
    if package.starts_with("wasi:") {
        return wasi(item, package, interface);
    }
    if package != NAMESPACE {
        let fix = format!("import only {WIT_PACKAGE}; compose other components into this one");
        return refused(item, "import.unknown", "not an interface this host offers", fix);
    }
    if version != Some("0.1.0") {
        let built = version.unwrap_or("no version");
        let why = format!("built against {built} of {NAMESPACE}; this host offers 0.1.0");
        return refused(item, "import.version", why, "build it against wit/0.1.0");
    }
    if !item.interface {
        return refused(
            item,
            "import.shape",
            "imported as something else than an interface",
            "build it against wit/0.1.0",
        );
    }
    ours(item, interface, contract)
}

/// An interface of ours: whether the contract declares what it serves.
fn ours(item: &Item, interface: &str, contract: Option<&Contract>) -> Finding {
    type Declared = fn(&Contract) -> bool;
    let (declared, needs, fix): (Declared, &str, &str) = match interface {
        "types" | "context" | "log" | "clock" | "random" => {
            return finding(item, Judgement::Accepted, "", "every plugin may import it", "");
        }
        "keys" => (
            |contract| contract.keys.iter().any(|key| key.uses.iter().any(|u| *u != KeyUse::Inject)),
            "a key to sign, verify or derive with",
            "declare a [[key]] with use = [\"sign\"] and name it in keys of an action, or do not import it",
        ),
        "audit" => (
            |contract| !contract.audit.is_empty(),
            "an audit event",
            "declare [[audit]] event = \"...\", or do not import it",
        ),
        "http" => (
            |contract| contract.plugin.kind == PluginKind::Connector && !contract.http.is_empty(),
            "an HTTP rule of a connector",
            "write kind = \"connector\" and declare [[http]], or do not import it",
        ),
        "kv" => (
            |contract| contract.plugin.kind == PluginKind::Connector && contract.kv.is_some(),
            "the storage of a connector",
            "write kind = \"connector\" and declare [kv] max = \"...\", or do not import it",
        ),
        _ => {
            let why = format!("{WIT_PACKAGE} has no such interface to import");
            return refused(item, "import.unknown", why, "build it against wit/0.1.0");
        }
    };
    match contract {
        None => {
            finding(item, Judgement::NeedsContract, "", format!("acceptable when a contract declares {needs}"), fix)
        }
        Some(contract) if declared(contract) => {
            finding(item, Judgement::Accepted, "", format!("the contract declares {needs}"), "")
        }
        Some(_) => refused(item, "import.undeclared", format!("the contract does not declare {needs}"), fix),
    }
}

/// A WASI interface: never offered, so say what to use instead.
fn wasi(item: &Item, package: &str, interface: &str) -> Finding {
    let instead = match (package, interface) {
        ("wasi:http" | "wasi:sockets", _) => "opsiq:plugin/http, whose requests the contract's rules cover",
        ("wasi:filesystem" | "wasi:keyvalue", _) => "opsiq:plugin/kv",
        ("wasi:clocks", _) => "opsiq:plugin/clock",
        ("wasi:random", _) => "opsiq:plugin/random",
        ("wasi:config", _) | ("wasi:cli", "environment") => "config() of opsiq:plugin/context",
        ("wasi:logging", _)
        | ("wasi:cli", "stdout" | "stderr" | "terminal-stdout" | "terminal-stderr" | "terminal-output") => {
            "opsiq:plugin/log"
        }
        ("wasi:cli", "exit") => "a failure returned from invoke",
        _ => return refused(item, "import.wasi", "plugins get no WASI", "leave WASI out when building"),
    };
    refused(item, "import.wasi", "plugins get no WASI", format!("use {instead}"))
}

/// How the toolchain that made a component with WASI leaves it out.
pub(super) fn without_wasi(scan: &Scan<'_>) -> Option<Problem> {
    scan.imports.iter().any(|item| item.name.starts_with("wasi:")).then(|| {
        let made_by = |name: &str| scan.tools.iter().any(|tool| tool.to_ascii_lowercase().starts_with(name));
        let exports = |name: &str| scan.exports.iter().any(|item| item.name == name);
        // Python and QuickJS leave no name of their own, only the exports they add.
        let (tool, fix) = if exports("exports") || made_by("componentize-py") {
            ("componentize-py", "build with `componentize-py componentize -s`")
        } else if made_by("componentizejs") {
            (
                "componentize-js",
                "build with disableFeatures: [\"stdio\", \"random\", \"clocks\", \"http\", \"fetch-event\"]",
            )
        } else if exports("init") {
            ("QuickJS", "build with `componentize-qjs --stub-wasi --sync`")
        } else if made_by("tinygo") || made_by("go ") {
            ("Go", "its builds always import WASI: write the plugin in Rust, JavaScript or Python")
        } else if made_by("rust") {
            ("Rust", "build with `opsiq plugin build`, that is for wasm32-unknown-unknown rather than a wasip target")
        } else {
            ("a toolchain", "build for a target without WASI")
        };
        let fix = match scan.exports.iter().find_map(|item| foreign::world_of(&item.name)) {
            Some(world) => format!(
                "{fix}; or wrap it as it is, for compatibility mode: world = \"{world}\" in [plugin] of its contract"
            ),
            None => fix.to_owned(),
        };
        Problem::new("component.wasi", format!("the component was built with WASI by {tool}"), fix)
    })
}

/// An import of a core module, which says something of how it was built and nothing of whether it would be acceptable.
pub(super) fn core_import(item: &Item) -> Finding {
    let (why, fix) = if item.name.starts_with("wasi_snapshot_preview1#") {
        ("an import of WASI preview 1", "build for wasm32-unknown-unknown")
    } else {
        ("an import of a core module", "make a component of the module, then inspect that")
    };
    finding(item, Judgement::Refused, "component.core-module", why, fix)
}

pub(super) fn export(item: &Item, contract: Option<&Contract>) -> Finding {
    if let Some(world) = contract.and_then(|contract| contract.plugin.world) {
        return foreign::export(item, world);
    }
    match item.name.as_str() {
        ACTIONS if item.interface => finding(item, Judgement::Accepted, "", "what every plugin exports", ""),
        WEBHOOKS if item.interface => match contract {
            None => finding(
                item,
                Judgement::NeedsContract,
                "",
                "acceptable when a contract declares a webhook",
                "declare [[webhook]]",
            ),
            Some(contract) if !contract.webhooks.is_empty() => {
                finding(item, Judgement::Accepted, "", "the contract declares a webhook", "")
            }
            Some(_) => refused(
                item,
                "export.webhooks-undeclared",
                "the contract declares no webhook",
                "declare [[webhook]], or do not export it",
            ),
        },
        ACTIONS | WEBHOOKS => {
            refused(item, "export.shape", "exported as something else than an interface", "build it against wit/0.1.0")
        }
        name if name.starts_with("opsiq:plugin/actions") || name.starts_with("opsiq:plugin/webhooks") => {
            refused(item, "export.version", format!("not of {WIT_PACKAGE}"), "build it against wit/0.1.0")
        }
        _ => finding(item, Judgement::Accepted, "", "never called", ""),
    }
}

pub(super) fn missing_exports(exports: &[Item], contract: Option<&Contract>) -> Vec<Problem> {
    if let Some(world) = contract.and_then(|contract| contract.plugin.world) {
        return foreign::missing_export(exports, world).into_iter().collect();
    }
    let lacks = |name: &str| !exports.iter().any(|item| item.name == name);
    let mut problems = Vec::new();
    if lacks(ACTIONS) {
        let message = format!("the component does not export {ACTIONS}, so it has nothing to run");
        problems.push(Problem {
            subject: Some(ACTIONS.to_owned()),
            ..Problem::new(
                "export.actions-missing",
                message,
                format!("implement the world action or connector of {WIT_PACKAGE}"),
            )
        });
    }
    if contract.is_some_and(|contract| !contract.webhooks.is_empty()) && lacks(WEBHOOKS) {
        let message = format!("the contract declares a webhook and the component does not export {WEBHOOKS}");
        let fix = "implement the world connector-with-webhooks, or remove [[webhook]]";
        problems.push(Problem {
            subject: Some(WEBHOOKS.to_owned()),
            ..Problem::new("export.webhooks-missing", message, fix)
        });
    }
    problems
}
