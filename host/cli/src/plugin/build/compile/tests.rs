use super::*;

#[test]
fn the_crates_own_module_is_found_among_the_messages() {
    let messages = concat!(
        r#"{"reason":"compiler-artifact","manifest_path":"/dep/Cargo.toml","filenames":["/t/dep.wasm"]}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/p.d","/t/p.wasm"]}"#,
        "\nnot JSON\n",
        r#"{"reason":"build-finished","success":true}"#,
    );
    assert_eq!(module_of(messages.as_bytes(), Path::new("/p/Cargo.toml")), Some("/t/p.wasm".into()));
    assert_eq!(module_of(messages.as_bytes(), Path::new("/q/Cargo.toml")), None);
}

#[test]
fn remarks_are_what_is_no_list() {
    let output = "   Compiling a v1\nwarning: unused\n  --> src/lib.rs:1:1\n   |\n    Finished `x` profile\n";
    assert_eq!(remarks(output), "warning: unused\n  --> src/lib.rs:1:1\n   |");
    assert_eq!(remarks("   Compiling a v1\n    Finished\n"), "");
}
