//! The host process: takes modules from the generator, makes plugins of them, registers, installs and calls each.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use opsiq_gate::{Actor, Answer, Call, Class, Host, HostOptions, InstallRequest, NewTenant, Refusal};
use serde_json::json;
use tokio::runtime::Builder;
use wit_component::StringEncoding;

use crate::component::encoded;

/// What each module exports.
const EXPORTS: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32) unreachable))"#;

/// What each may import.
const IMPORTS: &str = r#"(module
  (import "opsiq:plugin/context@0.1.0" "invocation-id" (func (param i32)))
  (import "opsiq:plugin/context@0.1.0" "config" (func (param i32)))
  (import "opsiq:plugin/context@0.1.0" "remaining-ms" (func (result i64)))
  (import "opsiq:plugin/log@0.1.0" "write" (func (param i32 i32 i32)))
  (import "opsiq:plugin/audit@0.1.0" "emit" (func (param i32 i32 i32 i32 i32)))
  (import "opsiq:plugin/clock@0.1.0" "now-ms" (func (result i64)))
  (import "opsiq:plugin/clock@0.1.0" "monotonic-ns" (func (result i64)))
  (import "opsiq:plugin/random@0.1.0" "bytes" (func (param i32 i32)))
  (import "opsiq:plugin/kv@0.1.0" "get" (func (param i32 i32 i32)))
  (import "opsiq:plugin/kv@0.1.0" "set" (func (param i32 i32 i32 i32 i32 i64 i32)))
  (import "opsiq:plugin/kv@0.1.0" "delete" (func (param i32 i32 i32 i64 i32)))
  (import "opsiq:plugin/kv@0.1.0" "list-keys" (func (param i32 i32 i32 i32 i32 i32))))"#;

const CONTRACT: &str = r#"
contract = 1
[plugin]
id = "generated"
version = "0.0.NUMBER"
kind = "connector"
title = "Generated"
summary = "Nobody wrote it."
publisher = "tests"
[[audit]]
event = "generated.done"
[kv]
max = "64KiB"
[limits]
cpu = "20ms"
wall = "500ms"
[[action]]
name = "act"
title = "Act"
effect = "read"
scope = "generated:act"
roles = ["owner"]
params = { type = "object" }
result = { type = "object" }
"#;

/// Runs `count` components of a seed from number `from` on, in a new data directory; says on standard output when each
/// begins and how it ends.
pub(crate) fn run(seed: u64, from: u64, count: u64, die: bool) -> ExitCode {
    let dir = tempfile::tempdir().unwrap();
    let [exports, imports] = [("exports.wasm", EXPORTS), ("imports.wasm", IMPORTS)].map(|(name, text)| {
        let path = dir.path().join(name);
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        path
    });
    let mut generator = Command::new(generator())
        .args([seed, from, count].map(|number| number.to_string()))
        .args([exports, imports])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut modules = generator.stdout.take().unwrap();
    let mut next = move || {
        let mut length = [0; 4];
        modules.read_exact(&mut length).unwrap();
        let mut module = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        modules.read_exact(&mut module).unwrap();
        module
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let data = dir.path().join("data");
        Host::init(HostOptions::new(&data)).await.unwrap();
        let host = Host::open(HostOptions::new(&data)).await.unwrap();
        let new = NewTenant { id: "acme".parse().unwrap(), title: "Acme".to_owned(), owner: "ada".to_owned() };
        host.tenants().create(&Actor::operator(), new).await.unwrap();
        for number in from..from + count {
            say(&format!("begin {number}"));
            if die {
                std::process::abort();
            }
            say(&format!("end {number} {}", one(&host, number, &next()).await));
        }
        host.close().await.unwrap();
    });
    generator.wait().unwrap();
    say("done");
    // The watcher looks at this process, and lets it go.
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// The generator, as `make guests` builds it.
fn generator() -> PathBuf {
    std::env::var_os("OPSIQ_SMITH").map_or_else(
        || {
            let exe = std::env::current_exe().unwrap();
            let path = exe.parent().unwrap().join("../smith/release/opsiq-smith");
            assert!(path.exists(), "{} is missing: `make guests` builds it", path.display());
            path
        },
        PathBuf::from,
    )
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// How one module ended.
async fn one(host: &Host, number: u64, module: &[u8]) -> String {
    let contract = CONTRACT.replace("NUMBER", &number.to_string());
    let component = match encoded(module, StringEncoding::UTF8, &contract) {
        Ok(component) => component,
        Err(why) => {
            // Told for some; all would be too many to read.
            if number.is_multiple_of(100) {
                eprintln!("module {number} makes no component: {why}");
            }
            return "not a component".to_owned();
        }
    };
    let (operator, ada) = (Actor::operator(), Actor::user("acme".parse().unwrap(), "ada"));
    if let Err(refusal) = host.catalogue().register(&operator, component).await {
        return code("not registered: ", &refusal);
    }
    let name = format!("g{number}");
    let request = InstallRequest {
        name: name.clone(),
        plugin: format!("tests/generated@0.0.{number}"),
        without: Vec::new(),
        confirm: Vec::new(),
        config: json!({}),
    };
    if let Err(refusal) = host.installations().install(&ada, &request).await {
        return code("untyped ", &refusal);
    }
    let call =
        Call { installation: name.clone(), action: "act".to_owned(), params: b"{}".to_vec(), idempotency_key: None };
    let mut tries = 0;
    let ended = loop {
        match host.invoke(&ada, call.clone()).await {
            // A disk that others keep busy is no doing of the component's, unless it stays so.
            Err(refusal) if refusal.class == Class::Unavailable && tries < 3 => tries += 1,
            ended => break ended,
        }
    };
    let ended = match ended {
        Ok(Answer::Done(_)) => "ok".to_owned(),
        Ok(Answer::Pending(_)) => "untyped pending".to_owned(),
        Err(refusal) => code("", &refusal),
    };
    match host.installations().remove(&ada, &name).await {
        Ok(()) => ended,
        Err(refusal) => code("untyped ", &refusal),
    }
}

/// The code of a refusal. One that is a defect of the host is none that anybody may end in.
fn code(before: &str, refusal: &Refusal) -> String {
    let defect = refusal.class == Class::Internal || refusal.class == Class::Unavailable;
    format!("{}{}", if defect { "untyped " } else { before }, refusal.code)
}
