//! Components: what one imports and exports, whether it may be registered, and the contract inside it.
//!
//! Reads bytes and never runs them. Input may be anything at all: every size and nesting is bounded before it is followed,
//! and what cannot be understood is a problem with a name, not a panic.

mod foreign;
mod judge;
mod scan;
mod structure;
#[cfg(test)]
mod tests;
mod types;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use wasm_encoder::{ComponentSection as _, CustomSection};

use crate::ceiling::DEFAULT_COMPONENT_BYTES;
use crate::digest::Digest;
use crate::model::Contract;
use scan::Scan;

/// The WIT package that plugins are written against.
pub const WIT_PACKAGE: &str = "opsiq:plugin@0.1.0";

/// The custom section of a component that holds its contract.
pub const CONTRACT_SECTION: &str = "opsiq:contract";

/// Bytes that are looked at, whatever a ceiling says; larger input is only measured.
const MAX_INSPECTED: u64 = 256 << 20;

/// What some bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A WebAssembly component.
    Component,
    /// A core WebAssembly module, which is not yet a component.
    CoreModule,
    /// No WebAssembly.
    Other,
}

/// Whether a plugin may import something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Every plugin may, or the contract declares it.
    Accepted,
    /// It depends on a contract, and there is none to read.
    NeedsContract,
    /// It may not.
    Refused,
}

/// One import or export, and what is thought of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, every hidden character spelled out.
    pub name: String,
    /// Whether it is acceptable.
    pub judgement: Judgement,
    /// Why.
    pub why: String,
    /// What to change; empty when accepted.
    pub fix: String,
    /// Stable code of the rule that refused; empty when accepted.
    pub code: &'static str,
}

/// One reason not to register a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code, such as `import.undeclared`.
    pub code: &'static str,
    /// The import or export it is about.
    pub subject: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to change.
    pub fix: String,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, subject: None, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]; {}", self.message, self.code, self.fix)
    }
}

/// Everything that can be said of some bytes without running them.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// What they are.
    pub kind: Kind,
    /// Functions in them; 0 when they were not counted, because something else is wrong.
    pub functions: u64,
    /// The tools that made them, as they say themselves.
    pub tools: Vec<String>,
    /// What they import.
    pub imports: Vec<Finding>,
    /// What they export.
    pub exports: Vec<Finding>,
    /// The contract inside, when there is exactly one and it is sound.
    #[serde(skip)]
    pub contract: Option<Contract>,
    /// Every reason not to register them; empty when there is none.
    pub problems: Vec<Problem>,
}

/// A component fit for registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// SHA-256 of its bytes, over code and contract alike.
    pub digest: Digest,
    /// Its contract.
    pub contract: Contract,
    /// Functions in it, which is what compiling it takes.
    pub functions: u64,
}

/// Whether a component with this contract may import the interface `name`: the rule [`admit`] applies, for whoever links.
pub fn may_import(contract: &Contract, name: &str) -> bool {
    let item = scan::Item { name: name.to_owned(), interface: true };
    judge::import(&item, Some(contract)).judgement == Judgement::Accepted
}

/// Looks at any bytes, against the default size limit.
pub fn inspect(bytes: &[u8]) -> Inspection {
    inspect_within(bytes, DEFAULT_COMPONENT_BYTES)
}

/// Looks at any bytes; more than `max_bytes` of them is a problem, but they are looked at all the same.
pub fn inspect_within(bytes: &[u8], max_bytes: u64) -> Inspection {
    look(bytes, max_bytes, None)
}

/// Decides whether a component may be registered, against the default size limit.
///
/// # Errors
/// Every reason not to; never an empty list.
pub fn admit(bytes: &[u8]) -> Result<Admitted, Vec<Problem>> {
    admit_within(bytes, DEFAULT_COMPONENT_BYTES)
}

/// Decides whether a component of at most `max_bytes` may be registered.
///
/// # Errors
/// Every reason not to; never an empty list.
pub fn admit_within(bytes: &[u8], max_bytes: u64) -> Result<Admitted, Vec<Problem>> {
    if bytes.len() as u64 > max_bytes {
        return Err(vec![too_large(bytes.len() as u64, max_bytes)]);
    }
    let Inspection { digest, contract, functions, problems, .. } = look(bytes, max_bytes, None);
    match contract {
        Some(contract) if problems.is_empty() => Ok(Admitted { digest, contract, functions }),
        _ if problems.is_empty() => {
            Err(vec![Problem::new("contract.missing", "no contract", "build the plugin again")])
        }
        _ => Err(problems),
    }
}

/// The contract inside a component that was admitted before, whose bytes are still those: read again, not judged again.
///
/// # Errors
/// Why there is none to read.
pub fn contract_of(bytes: &[u8]) -> Result<Contract, Vec<Problem>> {
    let mut problems = Vec::new();
    let contract = own_contract(&Scan::of(bytes), &mut problems);
    contract.ok_or(problems)
}

/// Puts `contract` into a component that has none, and checks the two against one another.
///
/// # Errors
/// Every reason why the result could not be registered; never an empty list.
pub fn embed(component: &[u8], contract: &Contract) -> Result<Vec<u8>, Vec<Problem>> {
    let before = look(component, DEFAULT_COMPONENT_BYTES.max(component.len() as u64), Some(contract));
    if !before.problems.is_empty() {
        return Err(before.problems);
    }
    let mut whole = component.to_vec();
    let data = Cow::Owned(contract.canonical_json());
    CustomSection { name: Cow::Borrowed(CONTRACT_SECTION), data }.append_to_component(&mut whole);
    let after = admit_within(&whole, whole.len() as u64)?;
    if after.contract == *contract {
        Ok(whole)
    } else {
        Err(vec![Problem::new("contract.changed", "the contract does not read back as it was written", "report this")])
    }
}

fn too_large(size: u64, max: u64) -> Problem {
    let (size, max) = (crate::units::show_about(size), crate::units::show_size(max));
    Problem::new(
        "component.size",
        format!("the component has {size}, more than the {max} allowed"),
        "make it smaller, or set component under [ceiling] in opsiq.toml, by the operator",
    )
}

/// `given`: the contract to judge by, for a component that must not have one yet.
fn look(bytes: &[u8], max_bytes: u64, given: Option<&Contract>) -> Inspection {
    let size = bytes.len() as u64;
    let mut problems = Vec::new();
    if size > max_bytes {
        problems.push(too_large(size, max_bytes));
    }
    let scan = if size > MAX_INSPECTED { Scan::default() } else { Scan::of(bytes) };
    let contract = match given {
        Some(contract) => {
            if !scan.contracts.is_empty() {
                problems.push(Problem::new(
                    "contract.present",
                    "the component has a contract already",
                    "embed it into the component as first built",
                ));
            }
            Some(contract.clone())
        }
        None => own_contract(&scan, &mut problems),
    };
    match scan.kind {
        Kind::Component => {}
        Kind::CoreModule => problems.push(Problem::new(
            "component.core-module",
            "this is a core WebAssembly module, not a component",
            "build it with `opsiq plugin build`, or make a component of it with `wasm-tools component new`",
        )),
        Kind::Other => problems.push(Problem::new(
            "component.not-wasm",
            "this is no WebAssembly component",
            "give a .wasm component",
        )),
    }
    if let Some(error) = &scan.error {
        problems.push(Problem::new("component.malformed", error.clone(), "build the component again"));
    }
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    if scan.kind == Kind::CoreModule {
        imports.extend(scan.imports.iter().map(judge::core_import));
    } else {
        imports.extend(scan.imports.iter().map(|item| judge::import(item, contract.as_ref())));
        exports.extend(scan.exports.iter().map(|item| judge::export(item, contract.as_ref())));
        if contract.as_ref().is_none_or(|contract| contract.plugin.world.is_none()) {
            problems.extend(judge::without_wasi(&scan));
        }
        let refused = |finding: &&Finding| finding.judgement == Judgement::Refused;
        problems.extend(imports.iter().chain(&exports).filter(refused).map(|finding| Problem {
            code: finding.code,
            subject: Some(finding.name.clone()),
            message: format!("`{}`: {}", finding.name, finding.why),
            fix: finding.fix.clone(),
        }));
        if scan.kind == Kind::Component && scan.error.is_none() {
            problems.extend(judge::missing_exports(&scan.exports, contract.as_ref()));
        }
    }
    let mut functions = 0;
    if problems.is_empty() {
        match structure::check(bytes, max_bytes) {
            Ok(found) => functions = found,
            Err(problem) => problems.push(problem),
        }
    }
    // Types are compared last: with names amiss the comparison would only repeat them.
    if problems.is_empty()
        && let Err(problem) = types::check(bytes, contract.as_ref())
    {
        problems.push(problem);
    }
    let contract = if given.is_some() { None } else { contract };
    Inspection {
        digest: Digest::of(bytes),
        size,
        kind: scan.kind,
        functions,
        tools: scan.tools,
        imports,
        exports,
        contract,
        problems,
    }
}

fn own_contract(scan: &Scan<'_>, problems: &mut Vec<Problem>) -> Option<Contract> {
    match scan.contracts.as_slice() {
        [] => {
            if scan.kind == Kind::Component {
                let fix = "write a contract.toml and build with `opsiq plugin build`; into a component of other tools, \
                           `opsiq plugin wrap FILE --contract contract.toml` puts it";
                problems.push(Problem::new("contract.missing", "the component holds no contract", fix));
            }
            None
        }
        [bytes] => Contract::from_canonical_json(bytes)
            .map_err(|errors| {
                for error in errors.0 {
                    let path = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
                    problems.push(Problem::new(error.code, format!("contract: {path}{}", error.message), error.fix));
                }
            })
            .ok(),
        several => {
            let message = format!("the component holds {} contracts", several.len());
            problems.push(Problem::new("contract.duplicate", message, "build the plugin again, so that it holds one"));
            None
        }
    }
}
