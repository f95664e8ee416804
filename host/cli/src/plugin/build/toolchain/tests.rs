use super::*;

#[test]
fn the_debian_way_names_the_package_that_is_missing() {
    let prefix = tempfile::tempdir().unwrap();
    let touch = |path: &str| {
        let path = prefix.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    };
    let missing = || debian(prefix.path()).unwrap_err();
    assert!(missing().starts_with("rustc-web is not installed"), "{}", missing());
    touch("bin/rustc");
    assert!(missing().starts_with("cargo-web is not installed"), "{}", missing());
    touch("bin/cargo");
    assert!(missing().starts_with("rust-web-src is not installed"), "{}", missing());
}

#[test]
fn offline_adds_nothing() {
    let mut steps = 0;
    let added = add(Path::new("."), true, &mut |_| steps += 1);
    assert_eq!((added, steps), (Err("not tried: --offline".to_owned()), 0));
}

#[test]
fn rustups_reason_is_found_among_its_progress() {
    let said = b"info: downloading component 'rust-std'\nerror: could not download file\nmore";
    assert_eq!(error_line(said), "could not download file");
    assert_eq!(error_line(b""), "it failed without a word");
}

/// What a build sees is the same whatever the caller's environment says.
#[test]
fn the_environment_is_scrubbed() {
    let mut command = Command::new("true");
    scrub(&mut command);
    // The test itself runs under cargo, which sets its own variables.
    let removed = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name.to_string_lossy());
    let removed = removed.collect::<Vec<_>>();
    assert!(removed.iter().any(|name| name == "CARGO_MANIFEST_DIR"), "{removed:?}");
    assert!(!removed.iter().any(|name| name == "CARGO_HOME" || name == "PATH"), "{removed:?}");
}
