//! One component per attack, each a text one can read at a glance (`tests/hostile/wat`), run by the built command. Its
//! twin shows that the attack is one: the same component gets its way on a plain engine, or, where the engine itself
//! stands in the way, the same component with its one harmful number replaced by a harmless one gets its answer.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::opsiq::{Ran, World};
use crate::orders::SECRET;
use crate::plain::Plain;
use crate::written::{CONTRACT, built, component_of, folder, text};

/// What shows that an attack is one.
enum Twin {
    /// A plain engine lets it run on.
    PlainRunsOn,
    /// On a plain engine it gets what it wants, and answers.
    PlainAnswers,
    /// With its harmful number replaced it answers, here.
    Harmless,
}

/// Each attack, the code of the error it must end in, and its twin.
const ATTACKS: &[(&str, &str, Twin)] = &[
    ("loop-in-start", "cpu_exceeded", Twin::PlainRunsOn),
    ("loop-in-realloc", "cpu_exceeded", Twin::PlainRunsOn),
    ("loop-in-post-return", "cpu_exceeded", Twin::PlainRunsOn),
    ("loop-of-bulk-fills", "cpu_exceeded", Twin::PlainRunsOn),
    ("memory-grow", "memory_exceeded", Twin::PlainAnswers),
    ("many-memories", "memory_exceeded", Twin::PlainAnswers),
    ("memory-declared", "", Twin::PlainAnswers),
    ("table-grow", "table_exceeded", Twin::PlainAnswers),
    ("log-of-gigabytes", "hostcall_bytes", Twin::PlainAnswers),
    ("answer-outside-memory", "", Twin::Harmless),
    ("answer-no-utf8", "invalid_result", Twin::Harmless),
    ("answer-misaligned-utf16", "", Twin::Harmless),
    ("unknown-case", "", Twin::Harmless),
    ("reenter", "trap:component", Twin::Harmless),
    ("forged-handle", "trap:component", Twin::Harmless),
];

/// Registers, installs and calls a component; whatever of it is refused is the answer.
fn run(world: &World, name: &str, bytes: &[u8]) -> Ran {
    let file = world.file(&format!("{name}.wasm"));
    fs::write(&file, bytes).unwrap();
    let registered = world.run(&["plugin", "register", file.to_str().unwrap()]);
    if registered.code != 0 {
        return registered;
    }
    world.install(&file, name, &[], &[("signing-secret", SECRET)]);
    world.call(name, "attack", &json!({}))
}

#[test]
fn every_attack_component_ends_typed_and_alone() {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    for (name, code, twin) in ATTACKS {
        let began = Instant::now();
        let ran = run(&world, name, &component_of(name, false));
        assert!(began.elapsed() < Duration::from_secs(10), "{name} took {:?}", began.elapsed());
        assert!([6, 7].contains(&ran.code), "{name}: {ran:?}");
        let error = ran.refused(ran.code);
        assert!(error["code"].as_str().unwrap().starts_with(code), "{name}: {error}");
        if matches!(twin, Twin::Harmless) {
            let other = format!("{name}-twin");
            let harmless = built(&text(name, true), &CONTRACT.replace("NAME", &other));
            run(&world, &other, &harmless).ok();
        }
    }
    world.run(&["doctor"]).ok();
}

#[test]
fn on_a_plain_engine_the_attacks_get_their_way() {
    for (name, _, twin) in ATTACKS {
        let run = |time| Plain::new(&component_of(name, false)).run("attack", "{}", time);
        match twin {
            Twin::PlainRunsOn => {
                let (ended, took) = run(Duration::from_secs(1));
                assert!(ended.is_none() && took >= Duration::from_secs(1), "{name} ended by itself: {ended:?}");
            }
            Twin::PlainAnswers => {
                let (ended, _) = run(Duration::from_secs(30));
                assert_eq!(ended.as_deref(), Some("{}"), "{name}");
            }
            Twin::Harmless => {}
        }
    }
}

/// Code that takes longer to compile than the operator allows is refused when it is registered, and nothing is left of
/// it; the twin is the same component where the operator allows more.
#[test]
fn a_component_that_takes_too_long_to_compile_is_refused() {
    let functions = (0..20_000).map(|number| {
        format!(
            "(func (param i32) (result i32)
               (i32.rotl (i32.mul (i32.xor (local.get 0) (i32.const {number})) (i32.const 2654435761)) (i32.const 7)))"
        )
    });
    let module =
        text("answer-no-utf8", true).replacen("(module", &format!("(module {}", functions.collect::<String>()), 1);
    let world = World::new();
    let file = world.file("bomb.wasm");
    fs::write(&file, built(&module, &CONTRACT.replace("NAME", "bomb"))).unwrap();
    world.configure("[ceiling]\ncompile = \"20ms\"\n");
    let config = fs::read_to_string(world.data().join("opsiq.toml")).unwrap();
    let refused = world.run(&["plugin", "register", file.to_str().unwrap()]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    assert_eq!(world.run(&["plugin", "list"]).ok().as_array().map(Vec::len), Some(0));
    fs::write(world.data().join("opsiq.toml"), config.replace("20ms", "5min")).unwrap();
    world.run(&["plugin", "register", file.to_str().unwrap()]).ok();
}

/// The folder, the list above and the table in `tests/hostile/README.md` name the same things, and what the table names
/// exists: every row that is a sandbox's or a way out's business has a test that can fail.
#[test]
fn the_table_of_attacks_is_true() {
    const ROWS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 41, 42, 43, 44, 53, 54, 55, 68, 70, 72, 73];
    let table = fs::read_to_string(folder().join("README.md")).unwrap();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    for row in ROWS {
        assert!(lines.iter().any(|line| line[0] == row.to_string()), "row {row} has no line");
    }
    let root = folder().join("../..");
    for line in &lines {
        let [_, _, by, test, twin] = line[..] else { panic!("five columns: {line:?}") };
        for (path, needle) in [test, twin].into_iter().chain([by]).filter_map(named) {
            let file = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(file.contains(&needle), "{path} has no {needle}: {line:?}");
        }
        assert!(named(test).is_some() && named(twin).is_some(), "a test and a twin: {line:?}");
    }
    let mut listed: Vec<_> = ATTACKS.iter().map(|(name, ..)| format!("{name}.wat")).collect();
    let mut there: Vec<_> = fs::read_dir(folder().join("wat"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there, "the folder and the list");
    assert!(there.iter().all(|file| table.contains(&format!("`{file}`"))), "the folder and the table");
}

/// The file and the text in it that a cell names: `path::function`, or `path` with a function or an action of the hostile
/// plugin.
fn named(cell: &str) -> Option<(String, String)> {
    let cell = cell.split('`').nth(1)?;
    match cell.split_once("::") {
        Some((path, function)) => Some((path.to_owned(), format!("fn {function}("))),
        None if cell.contains(".wat") => Some((format!("tests/hostile/wat/{cell}"), "(module".to_owned())),
        None => Some(("tests/hostile/contract.toml".to_owned(), format!("name = \"{cell}\""))),
    }
}
