//! What a component made for WASI may import in compatibility mode: interface by interface, and what it finds there.
//!
//! An interface is given where it can be given empty, as the ones are that toolchains always import: an environment without
//! variables, a file system without files. What cannot be empty is refused by name.

use super::judge::{finding, refused};
use super::scan::Item;
use super::{Finding, Judgement, Problem};
use crate::foreign::World;

/// The version of WASI that is given: any release of it, since they only add to one another.
const RELEASE: &str = "0.2.";

/// The world of which a component exports `name`.
pub(super) fn world_of(name: &str) -> Option<World> {
    let (interface, version) = name.split_once('@')?;
    let world = match interface {
        "wasi:http/incoming-handler" => World::Proxy,
        "wasi:cli/run" => World::Command,
        _ => return None,
    };
    is_given(version).then_some(world)
}

fn is_given(version: &str) -> bool {
    version.strip_prefix(RELEASE).is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

/// What the component finds behind an interface; `Err` with why there is nothing, and what to do.
fn given(world: World, package: &str, interface: &str) -> Result<&'static str, (&'static str, &'static str)> {
    let command = world == World::Command;
    Ok(match (package, interface) {
        ("wasi:io", "error" | "poll" | "streams") => "the streams of what else is given",
        ("wasi:clocks", "wall-clock" | "monotonic-clock") => "the host's clock",
        ("wasi:random", "random" | "insecure" | "insecure-seed") => "the host's randomness",
        ("wasi:http", "types") => "requests and answers",
        ("wasi:http", "outgoing-handler") => "requests that a rule of the contract covers",
        ("wasi:cli", "stdin") if command => "the parameters",
        ("wasi:cli", "stdin") => "empty",
        ("wasi:cli", "stdout") if command => "the result",
        ("wasi:cli", "stdout" | "stderr") => "the log",
        ("wasi:cli", "environment") => "the arguments of the contract; no variables",
        ("wasi:cli", "exit") => "the end of the call",
        (
            "wasi:cli",
            "terminal-input" | "terminal-output" | "terminal-stdin" | "terminal-stdout" | "terminal-stderr",
        ) => "no terminal",
        ("wasi:filesystem", "types" | "preopens") => "no files",
        ("wasi:sockets", _) => {
            return Err(("sockets are never given", "use wasi:http, whose requests the contract's rules cover"));
        }
        _ => {
            return Err((
                "compatibility mode gives no such interface",
                "leave it out, or write the plugin for this host: see wit/",
            ));
        }
    })
}

/// Judges an import. `connects`: whether the contract declares an HTTP rule.
pub(super) fn import(
    item: &Item,
    world: World,
    connects: bool,
    (package, interface, version): (&str, &str, Option<&str>),
) -> Finding {
    let found = match given(world, package, interface) {
        Ok(found) => found,
        Err((why, fix)) => return refused(item, "import.wasi", why, fix),
    };
    if !version.is_some_and(is_given) {
        let built = version.unwrap_or("no version");
        let why = format!("built against {built} of WASI; compatibility mode gives 0.2");
        return refused(item, "import.version", why, "build it against WASI 0.2");
    }
    if !item.interface {
        return refused(
            item,
            "import.shape",
            "imported as something else than an interface",
            "build it against WASI 0.2",
        );
    }
    if interface == "outgoing-handler" && !connects {
        let fix = "write kind = \"connector\" and declare [[http]], or build it without outgoing requests";
        return refused(item, "import.undeclared", "the contract does not declare an HTTP rule", fix);
    }
    finding(item, Judgement::Accepted, "", found, "")
}

/// Judges an export.
pub(super) fn export(item: &Item, world: World) -> Finding {
    let why = if item.interface && world_of(&item.name) == Some(world) { "what is called" } else { "never called" };
    finding(item, Judgement::Accepted, "", why, "")
}

/// What the component lacks to be of this world.
pub(super) fn missing_export(exports: &[Item], world: World) -> Option<Problem> {
    if exports.iter().any(|item| item.interface && world_of(&item.name) == Some(world)) {
        return None;
    }
    let wanted = match world {
        World::Proxy => "wasi:http/incoming-handler@0.2",
        World::Command => "wasi:cli/run@0.2",
    };
    let (message, fix) = match exports.iter().find_map(|item| world_of(&item.name)) {
        Some(other) => (
            format!("the contract says world = \"{world}\" and the component was made for {other}"),
            format!("write world = \"{other}\" in [plugin]"),
        ),
        None => (
            format!("the component does not export {wanted}, so it has nothing to run"),
            format!("build it for {world}, or remove world from [plugin]"),
        ),
    };
    Some(Problem { subject: Some(wanted.to_owned()), ..Problem::new("export.world-missing", message, fix) })
}
