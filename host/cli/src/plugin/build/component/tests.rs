use opsiq_contract::Contract;

use super::*;

const CONTRACT: &str = r#"
contract = 1
[plugin]
id = "t"
version = "0.1.0"
kind = "KIND"
title = "T"
summary = "T."
publisher = "p"
[[action]]
name = "a"
title = "A"
effect = "read"
scope = "a:read"
roles = ["owner"]
params = { type = "object" }
result = { type = "object" }
"#;

fn contract(kind: &str) -> Contract {
    Contract::parse_toml(&CONTRACT.replace("KIND", kind)).unwrap()
}

/// A module with these sections: each its id and bytes.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (id, bytes) in sections {
        module.push(*id);
        module.push(u8::try_from(bytes.len()).unwrap());
        module.extend_from_slice(bytes);
    }
    module
}

fn named(name: &str, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(name.len()).unwrap()];
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

/// A module that imports one function without parameters.
fn importing(from: &str, name: &str) -> Vec<u8> {
    let types = vec![1, 0x60, 0, 0];
    let mut imports = vec![1];
    imports.extend(named(from, &named(name, &[0, 0])));
    module(&[(1, types), (2, imports)])
}

#[test]
fn descriptions_are_taken_out_and_nothing_else() {
    let types = (1, vec![1, 0x60, 0, 0]);
    let other = (0, named("name", &[0]));
    let with = module(&[
        (0, named("component-type:a", b"xx")),
        types.clone(),
        (0, named("component-type:b", b"yyy")),
        other.clone(),
        (0, named("component-type:c", b"")),
    ]);
    assert_eq!(without_descriptions(&with).unwrap(), module(&[types, other]));
    assert!(without_descriptions(b"no module").is_err());
}

#[test]
fn an_import_of_the_world_passes_this_check() {
    let (resolve, id) = resolve("action").unwrap();
    let module = importing("opsiq:plugin/log@0.1.0", "write");
    assert!(check_imports(&module, &resolve, id, "action").is_ok());
}

#[test]
fn any_other_import_is_refused_by_name_and_with_what_to_do() {
    for (from, kind, hint) in [
        ("wasi_snapshot_preview1", "connector", "no WASI"),
        ("wasi:cli/environment@0.2.0", "connector", "no WASI"),
        ("__wbindgen_placeholder__", "connector", "browser"),
        ("env", "connector", "undefined symbol"),
        ("opsiq:plugin/http@0.1.0", "action", "connector"),
        ("opsiq:plugin/log@0.2.0", "connector", "does not have it"),
        ("other", "connector", "not part"),
    ] {
        match encode(&importing(from, "f"), &contract(kind)) {
            Err(BuildError::Import { import, why }) => {
                assert_eq!(import, format!("{from}#f"));
                assert!(why.contains(hint), "{from}: {why}");
            }
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn a_module_without_the_exports_is_refused() {
    let empty = encode(&module(&[]), &contract("action"));
    assert!(
        matches!(&empty, Err(BuildError::Component { world: "action", why }) if why.contains("invoke")),
        "{empty:?}"
    );
}
