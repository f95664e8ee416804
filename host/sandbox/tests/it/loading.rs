//! What is not loaded: bytes that were changed, imports that were not declared, code someone else compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use opsiq_contract::{Contract, Digest};
use opsiq_sandbox::{CompiledCache, LoadError, Plugin, Sandbox, SandboxConfig};
use opsiq_vault::Secret;

use crate::guest::Guest;
use crate::host::{config, contract, sandbox};

#[tokio::test]
async fn changed_bytes_are_refused() {
    let bytes = Guest::then_ok("").build();
    let digest = Digest::of(&bytes);
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    let contract = contract("");
    let error = sandbox().load(&digest, &contract, move || Ok::<_, String>(changed)).await.unwrap_err();
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    sandbox().load(&digest, &contract, move || Ok::<_, String>(bytes)).await.unwrap();
}

#[tokio::test]
async fn imports_the_contract_does_not_declare_are_refused_by_name() {
    let asks = Guest::then_ok("(call $get (i32.const 0) (i32.const 0) (i32.const 256))").import(
        "kv",
        "get",
        "(param i32 i32 i32)",
    );
    let bytes = asks.build();
    let digest = Digest::of(&bytes);
    let silent = Contract { kv: None, ..contract("") };
    let theirs = bytes.clone();
    let error = sandbox().load(&digest, &silent, move || Ok::<_, String>(theirs)).await.unwrap_err();
    assert!(error.to_string().contains("opsiq:plugin/kv@0.1.0"), "{error}");
    sandbox().load(&digest, &contract(""), move || Ok::<_, String>(bytes)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_component_or_too_large_is_refused() {
    for bytes in [Vec::new(), b"\0asm".to_vec(), wat::parse_str("(module)").unwrap(), vec![7; 1000]] {
        let digest = Digest::of(&bytes);
        let error = sandbox().load(&digest, &contract(""), move || Ok::<_, String>(bytes)).await.unwrap_err();
        assert!(matches!(error, LoadError::Compile(_)), "{error}");
    }
    let small = Sandbox::new(SandboxConfig { component_bytes: 100, ..config() }).unwrap();
    let bytes = Guest::then_ok("").build();
    let error = small.load(&Digest::of(&bytes), &contract(""), move || Ok::<_, String>(bytes)).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { most: 100, .. }), "{error}");
}

/// A sandbox over a folder of compiled code.
fn over(folder: &std::path::Path, key: &[u8]) -> Sandbox {
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).unwrap();
    let compiled = Some(CompiledCache { dir, mac_key: Secret::from(key.to_vec()) });
    Sandbox::new(SandboxConfig { compiled, ..config() }).unwrap()
}

/// Loads `bytes`, and says whether they were asked for: whether they were compiled.
async fn compiles(sandbox: &Sandbox, bytes: &[u8]) -> (Arc<Plugin>, bool) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, given) = (Arc::clone(&asked), bytes.to_vec());
    let read = move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(given)
    };
    let plugin = sandbox.load(&Digest::of(bytes), &contract(""), read).await.unwrap();
    (plugin, asked.load(Ordering::SeqCst) == 1)
}

#[tokio::test]
async fn compiled_code_is_used_again_unless_a_bit_or_the_key_changed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Guest::then_ok("").build();
    let first = over(folder.path(), b"key");
    assert!(compiles(&first, &bytes).await.1);
    assert!(!compiles(&first, &bytes).await.1, "it is in memory");
    assert!(!compiles(&over(folder.path(), b"key"), &bytes).await.1, "it is on disk");
    let other = over(folder.path(), b"other");
    assert!(compiles(&other, &bytes).await.1, "another key vouches for nothing here");
    assert!(other.notes().iter().any(|note| note.contains("MAC")), "and it is said: {:?}", other.notes());
    assert!(compiles(&over(folder.path(), b"key"), &bytes).await.1, "the other one wrote over it");

    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    for at in [0, 7, 8, 40, 72, 80, good.len() / 2, good.len() - 33, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        assert!(compiles(&over(folder.path(), b"key"), &bytes).await.1, "bit {at}");
        assert_eq!(std::fs::read(&file).unwrap().len(), good.len(), "it was made anew");
    }
    for cut in [0, 10, 71, 103, good.len() - 1] {
        std::fs::write(&file, &good[..cut]).unwrap();
        assert!(compiles(&over(folder.path(), b"key"), &bytes).await.1, "cut at {cut}");
    }
    std::fs::write(&file, &good).unwrap();
    assert!(!compiles(&over(folder.path(), b"key"), &bytes).await.1, "the twin: the good file again");
}

#[tokio::test]
async fn code_of_another_component_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Guest::then_ok("").build(), Guest::then_ok("(nop)").build());
    compiles(&over(folder.path(), b"key"), &one).await;
    let name = |bytes: &[u8]| folder.path().join(format!("{}.code", Digest::of(bytes).hex()));
    std::fs::copy(name(&one), name(&two)).unwrap();
    assert!(compiles(&over(folder.path(), b"key"), &two).await.1);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_time_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = over(folder.path(), b"key");
    folder.close().unwrap();
    assert!(compiles(&sandbox, &Guest::then_ok("").build()).await.1);
}

#[tokio::test]
async fn many_who_want_one_plugin_compile_it_once() {
    let sandbox = sandbox();
    let bytes = Guest::then_ok("").build();
    let loads: Vec<_> = (0..8).map(|_| compiles(&sandbox, &bytes)).collect();
    let compiled = futures::future::join_all(loads).await.into_iter().filter(|(_, compiled)| *compiled).count();
    assert_eq!(compiled, 1);
    sandbox.forget(&Digest::of(&bytes));
    assert!(compiles(&sandbox, &bytes).await.1);
}
