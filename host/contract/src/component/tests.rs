use std::borrow::Cow;

use wasm_encoder::{Component, ComponentSection as _, CustomSection, Module, NestedComponentSection};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

use super::{CONTRACT_SECTION, Judgement, Kind, admit, admit_within, embed, inspect, types};
use crate::sample::{PROGRAM, SERVICE, SHOP, STRIPE, shop, stripe};
use crate::{Contract, Digest};

/// A component of the world that does nothing.
fn component(resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let mut module = dummy_module(resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn connector() -> Vec<u8> {
    let (resolve, plain, _) = types::package();
    component(resolve, plain)
}

/// A component of a world written for the test; the package of ours is at hand.
fn custom(world: &str) -> Vec<u8> {
    let (resolve, ..) = types::package();
    let mut resolve = resolve.clone();
    let package = resolve.push_source("test.wit", world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    component(&resolve, world)
}

fn section(name: &str, data: &[u8], onto: &[u8]) -> Vec<u8> {
    let mut whole = onto.to_vec();
    CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(data) }.append_to_component(&mut whole);
    whole
}

fn codes(bytes: &[u8]) -> Vec<&'static str> {
    admit(bytes).map(|admitted| admitted.digest).unwrap_err().iter().map(|problem| problem.code).collect()
}

#[test]
fn a_contract_is_embedded_and_read_back() {
    let whole = embed(&connector(), &shop()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let admitted = admit(&whole).unwrap();
    assert_eq!((admitted.contract, admitted.digest), (shop(), Digest::of(&whole)));
    let inspection = inspect(&whole);
    assert_eq!((inspection.kind, inspection.problems.len()), (Kind::Component, 0));
    assert!(
        inspection.imports.iter().all(|import| import.judgement == Judgement::Accepted),
        "{:#?}",
        inspection.imports
    );
    assert_eq!(embed(&whole, &shop()).unwrap_err()[0].code, "contract.present");
}

#[test]
fn exactly_one_sound_contract() {
    let bare = connector();
    assert_eq!(codes(&bare), ["contract.missing"]);
    let whole = embed(&bare, &shop()).unwrap();
    assert_eq!(codes(&section(CONTRACT_SECTION, &shop().canonical_json(), &whole)), ["contract.duplicate"]);
    assert_eq!(codes(&section(CONTRACT_SECTION, b"{}", &bare))[0], "field.missing");
    assert_eq!(codes(&section(CONTRACT_SECTION, b"{", &bare)), ["json.syntax"]);
    assert_eq!(
        codes(&section(CONTRACT_SECTION, &[shop().canonical_json(), b" ".to_vec()].concat(), &bare)),
        ["json.not-canonical"]
    );
    assert!(admit(&section("another", b"{}", &whole)).is_ok());
    // One that is not at the top is not the component's.
    let mut inner = Component::new();
    inner.section(&CustomSection { name: Cow::Borrowed(CONTRACT_SECTION), data: Cow::Owned(shop().canonical_json()) });
    let mut nested = bare;
    NestedComponentSection(&inner).append_to_component(&mut nested);
    assert_eq!(codes(&nested), ["contract.missing"]);
}

#[test]
fn an_undeclared_import_is_refused_by_name() {
    let without = |text: &str, gone: &str| {
        let start = text.find(gone).unwrap();
        let end = text[start + 1..].find("\n[").map_or(text.len(), |at| start + 1 + at);
        Contract::parse_toml(&format!("{}{}", &text[..start], &text[end..])).unwrap_or_else(|errors| panic!("{errors}"))
    };
    for (contract, import) in
        [(without(SHOP, "[kv]"), "opsiq:plugin/kv@0.1.0"), (without(SHOP, "[[audit]]"), "opsiq:plugin/audit@0.1.0")]
    {
        let problems = embed(&connector(), &contract).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.code, p.subject.as_deref())).collect();
        assert_eq!(told, [("import.undeclared", Some(import))]);
        // The same when somebody embeds it by other means.
        let forged = section(CONTRACT_SECTION, &contract.canonical_json(), &connector());
        assert_eq!(admit(&forged).unwrap_err()[0].subject.as_deref(), Some(import));
    }
    let action = r#"contract = 1
plugin = { id = "sum", version = "0.1.0", kind = "action", title = "Sum", summary = "Adds.", publisher = "acme" }
action = [{ name = "add", title = "Add", effect = "read", scope = "sums:read", roles = ["owner"], result = { type = "null" } }]
"#;
    let problems = embed(&connector(), &Contract::parse_toml(action).unwrap()).unwrap_err();
    let names: Vec<_> = problems.iter().filter_map(|p| p.subject.as_deref()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in ["keys", "audit", "http", "kv"] {
        assert!(names.contains(&format!("opsiq:plugin/{name}@0.1.0").as_str()), "{name}");
    }
}

#[test]
fn webhooks_are_exported_if_and_only_if_declared() {
    let (resolve, _, webhooks) = types::package();
    let with = component(resolve, webhooks);
    let keyless = STRIPE;
    assert!(embed(&with, &shop()).unwrap_err().iter().any(|p| p.code == "export.webhooks-undeclared"));
    assert!(embed(&connector(), &stripe()).unwrap_err().iter().any(|p| p.code == "export.webhooks-missing"));
    let whole = embed(&with, &Contract::parse_toml(keyless).unwrap());
    assert!(whole.is_ok(), "{whole:#?}");
}

#[test]
fn other_worlds_are_explained() {
    let wasi = custom(
        "package a:b; world w { import wasi:cli/environment@0.2.3; import wasi:http/outgoing-handler@0.2.3; import c:d/e; import f: func();
            import opsiq:plugin/log@0.1.0; export g: func(); }
         package wasi:cli@0.2.3 { interface environment { get: func() -> string; } }
         package wasi:http@0.2.3 { interface outgoing-handler { handle: func() -> string; } }
         package c:d { interface e { x: func(); } }",
    );
    let inspection = inspect(&wasi);
    let told: Vec<_> = inspection.imports.iter().map(|i| (i.name.as_str(), i.judgement, i.code)).collect();
    for row in [
        ("wasi:cli/environment@0.2.3", Judgement::Refused, "import.wasi"),
        ("wasi:http/outgoing-handler@0.2.3", Judgement::Refused, "import.wasi"),
        ("c:d/e", Judgement::Refused, "import.unknown"),
        ("f", Judgement::Refused, "import.unknown"),
        ("opsiq:plugin/log@0.1.0", Judgement::Accepted, ""),
    ] {
        assert!(told.contains(&row), "{row:?} in {told:?}");
    }
    assert!(
        inspection
            .imports
            .iter()
            .all(|i| !i.why.is_empty() && (i.judgement == Judgement::Accepted) == i.fix.is_empty())
    );
    assert!(inspection.exports.iter().any(|e| e.name == "g" && e.judgement == Judgement::Accepted));
    let codes: Vec<_> = inspection.problems.iter().map(|p| p.code).collect();
    assert!(codes.contains(&"component.wasi"), "{codes:?}");
    assert!(codes.contains(&"export.actions-missing") && codes.contains(&"contract.missing"), "{codes:?}");
}

/// What a toolchain always imports is admitted empty, what cannot be empty is refused by name.
#[test]
fn components_made_elsewhere_are_judged_by_their_world() {
    let made = |imports: &str, export: &str| {
        custom(&format!(
            "package a:b; world w {{ {imports} export {export}; }}
             package wasi:cli@0.2.3 {{ interface environment {{ get: func() -> string; }} interface run {{ run: func(); }} }}
             package wasi:filesystem@0.2.3 {{ interface preopens {{ get: func() -> string; }} }}
             package wasi:sockets@0.2.3 {{ interface tcp {{ get: func() -> string; }} }}
             package wasi:clocks@0.3.0 {{ interface wall-clock {{ get: func() -> string; }} }}
             package wasi:http@0.2.3 {{ interface outgoing-handler {{ handle: func() -> string; }}
                 interface incoming-handler {{ handle: func(); }} }}",
        ))
    };
    let [service, program] = [SERVICE, PROGRAM].map(|text| Contract::parse_toml(text).unwrap());
    let (proxy, run) = ("wasi:http/incoming-handler@0.2.3", "wasi:cli/run@0.2.3");
    let empty = "import wasi:cli/environment@0.2.3; import wasi:filesystem/preopens@0.2.3;";
    let out = "import wasi:http/outgoing-handler@0.2.3;";
    let whole =
        embed(&made(&format!("{empty}{out}"), proxy), &service).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(admit(&whole).unwrap().contract.plugin.world, service.plugin.world);
    embed(&made(empty, run), &program).unwrap_or_else(|problems| panic!("{problems:#?}"));

    for (imports, export, contract, code, says) in [
        ("import wasi:sockets/tcp@0.2.3;", proxy, &service, "import.wasi", "wasi:sockets/tcp@0.2.3"),
        ("import wasi:clocks/wall-clock@0.3.0;", proxy, &service, "import.version", "0.3.0"),
        ("import opsiq:plugin/log@0.1.0;", proxy, &service, "import.wasi", "opsiq:plugin/log"),
        ("import f: func();", proxy, &service, "import.unknown", "`f`"),
        (out, run, &program, "import.undeclared", "outgoing-handler"),
        ("", run, &service, "export.world-missing", "made for wasi:cli/command@0.2"),
        ("", "g: func()", &service, "export.world-missing", "does not export wasi:http/incoming-handler"),
    ] {
        let problems = embed(&made(imports, export), contract).unwrap_err();
        let told = |problem: &super::Problem| problem.code == code && problem.message.contains(says);
        assert!(problems.iter().any(told), "{imports} {export}: {problems:#?}");
    }
    // Without such a contract the same component is told how it could have one.
    let problems = inspect(&made(empty, proxy)).problems;
    assert!(
        problems.iter().any(|p| p.code == "component.wasi" && p.fix.contains("wasi:http/proxy@0.2")),
        "{problems:#?}"
    );
}

#[test]
fn functions_of_another_type_are_refused() {
    let mut resolve = Resolve::new();
    let package = resolve
        .push_source("test.wit", "package opsiq:plugin@0.1.0; interface actions { invoke: func(action: string) -> string; } world w { export actions; }")
        .unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let problems = embed(&component(&resolve, world), &shop()).unwrap_err();
    assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["component.types"], "{problems:#?}");
}

#[test]
fn other_versions_are_told_apart() {
    let mut resolve = Resolve::new();
    let package = resolve
        .push_source("test.wit", "package opsiq:plugin@0.2.0; interface log { x: func(); } interface actions { y: func(); } world w { import log; export actions; }")
        .unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let inspection = inspect(&component(&resolve, world));
    assert_eq!(inspection.imports[0].code, "import.version");
    assert!(inspection.problems.iter().any(|p| p.code == "export.version"), "{:#?}", inspection.problems);
}

#[test]
fn anything_at_all_is_looked_at_without_a_panic() {
    assert_eq!(inspect(&Module::new().finish()).kind, Kind::CoreModule);
    assert_eq!(codes(&Module::new().finish()), ["component.core-module"]);
    for bytes in
        [b"".as_slice(), b"\0", b"\0asm", b"hello", b"\0asm\x0d\0\x01\0\xff", b"\0asm\x01\0\0\0\xff", &[0xff; 4096]]
    {
        assert!(!inspect(bytes).problems.is_empty());
        assert!(admit(bytes).is_err() && embed(bytes, &shop()).is_err());
    }
    // A component in a component in a component, far beyond any stack.
    let mut nested = Component::new().finish();
    for _ in 0..2_000 {
        let mut outer = Component::new().finish();
        outer.push(4);
        leb(nested.len(), &mut outer);
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    assert!(codes(&nested).contains(&"component.malformed"));
    // Every prefix, and every byte turned over, of a small component.
    let whole = embed(&connector(), &shop()).unwrap();
    for end in (0..whole.len()).step_by(7) {
        assert!(admit(&whole[..end]).is_err());
    }
    for at in (0..whole.len()).step_by(11) {
        let mut other = whole.clone();
        other[at] ^= 0x55;
        let _ = inspect(&other);
    }
}

fn leb(mut value: usize, into: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            return into.push(byte);
        }
        into.push(byte | 0x80);
    }
}

#[test]
fn what_the_engine_does_not_run_is_refused() {
    let shared =
        wasm_encoder::MemoryType { minimum: 1, maximum: Some(2), memory64: false, shared: true, page_size_log2: None };
    let wide =
        wasm_encoder::MemoryType { minimum: 1, maximum: None, memory64: true, shared: false, page_size_log2: None };
    for memory in [shared, wide] {
        let mut memories = wasm_encoder::MemorySection::new();
        memories.memory(memory);
        let mut module = Module::new();
        module.section(&memories);
        let mut whole = embed(&connector(), &shop()).unwrap();
        wasm_encoder::ModuleSection(&module).append_to_component(&mut whole);
        assert_eq!(codes(&whole), ["component.features"]);
    }
}

#[test]
fn size_is_bounded() {
    let whole = embed(&connector(), &shop()).unwrap();
    let problems = admit_within(&whole, 100).unwrap_err();
    assert_eq!(problems[0].code, "component.size");
    assert!(problems[0].fix.contains("component under [ceiling]"), "{}", problems[0]);
    assert!(codes(&vec![0; (16 << 20) + 1]).contains(&"component.size"));
}
