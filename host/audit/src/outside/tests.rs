use super::*;

fn log(name: &str) -> Log {
    name.parse().unwrap()
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("checkpoints")
}

#[test]
fn what_was_written_last_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    assert!(matches!(CheckpointFile::open(&path), Err(CheckpointFileError::Missing(_))));
    CheckpointFile::create(&path).unwrap();
    let mut open = CheckpointFile::open(&path).unwrap();
    open.add(log("host"), "one".into());
    open.write().unwrap();
    open.add(log("host"), "two\nlines\n".into());
    open.add(log("tenant/acme"), "three".into());
    open.write().unwrap();
    // it is nobody else's
    assert!(matches!(CheckpointFile::create(&path), Err(CheckpointFileError::Taken(_))));
    let kept = CheckpointFile::open(&path).unwrap().kept;
    assert_eq!(kept, BTreeMap::from([(log("host"), "two\nlines\n".into()), (log("tenant/acme"), "three".into())]));
}

#[test]
fn a_line_that_was_cut_off_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    CheckpointFile::create(&path).unwrap();
    let mut open = CheckpointFile::open(&path).unwrap();
    for note in ["one", "two"] {
        open.add(log("host"), note.into());
        open.write().unwrap();
    }
    let text = std::fs::read(&path).unwrap();
    let whole = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in whole..text.len() {
        std::fs::write(&path, &text[..cut]).unwrap();
        let mut open = CheckpointFile::open(&path).unwrap();
        assert_eq!(open.kept()[&log("host")], "one", "cut at {cut}");
        open.add(log("host"), "three".into());
        open.write().unwrap();
        assert_eq!(CheckpointFile::open(&path).unwrap().kept()[&log("host")], "three", "cut at {cut}");
    }
}

#[test]
fn it_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    CheckpointFile::create(&path).unwrap();
    let mut open = CheckpointFile::open(&path).unwrap();
    for number in 0..2 * SPARE_LINES {
        open.add(log("host"), format!("note {number}"));
        open.write().unwrap();
    }
    drop(open);
    let open = CheckpointFile::open(&path).unwrap();
    assert!(open.lines <= SPARE_LINES + 1, "{} lines", open.lines);
    assert_eq!(open.kept()[&log("host")], format!("note {}", 2 * SPARE_LINES - 1));
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
        0o600
    );
}

#[test]
fn foreign_lines_and_foreign_writers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    CheckpointFile::create(&path).unwrap();
    std::fs::write(&path, "{\"log\":\"host\",\"note\":\"n\"}\n{\"log\":\"nobody\",\"note\":\"n\"}\n").unwrap();
    assert!(matches!(CheckpointFile::open(&path), Err(CheckpointFileError::Line { line: 2, .. })));
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o620)).unwrap();
    assert!(matches!(CheckpointFile::open(&path), Err(CheckpointFileError::Exposed { mode: 0o620, .. })));
}
