//! Compiling costs the service nothing: what would exhaust it is refused by name or ended in a child, while calls go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opsiq_gate::{Actor, Answer, Call, Compiler, Host, HostOptions, Refusal};

use crate::admission::files;
use crate::compile_bombs as bombs;
use crate::opsiq::{World, guest};

fn write(world: &World, name: &str, bytes: &[u8]) -> String {
    let path = world.file(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A refused component left no file.
fn kept(world: &World) -> Vec<PathBuf> {
    let mut all: Vec<_> = ["blobs", "compiled"].iter().flat_map(|dir| files(&world.data().join(dir))).collect();
    all.sort();
    all
}

/// The processes of `parent` that compile.
fn compiling(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let of = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let child = of("status").lines().any(|line| line == format!("PPid:\t{parent}"));
        if child && of("cmdline").contains("compile-child") {
            found.push(pid);
        }
    }
    found
}

/// Resident memory of this process, in KiB.
fn resident(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// What is beyond a bound is refused by its name before anything is compiled, in little time and memory.
#[test]
fn what_is_beyond_a_bound_is_refused_by_its_name() {
    let world = World::new();
    let before = kept(&world);
    let attacks: [(&str, Vec<u8>); 5] = [
        ("component.functions", bombs::functions(1_000_000)),
        ("component.branch-table", bombs::branch_table(500_000)),
        ("component.nesting", bombs::nested(300_000)),
        ("component.function-locals", bombs::locals(10, 50_000)),
        ("component.locals", bombs::locals(100_000, 16_000)),
    ];
    for (code, module) in attacks {
        let file = write(&world, "bomb.wasm", &bombs::with(&module));
        let begun = Instant::now();
        let error = world.run(&["plugin", "register", &file]).refused(6);
        assert_eq!(error["code"], "component.inadmissible", "{error}");
        assert!(error.to_string().contains(code), "{code} is not named: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{code} took {:?}", begun.elapsed());
        world.run(&["plugin", "inspect", &file]).refused(6);
    }
    assert_eq!(kept(&world), before, "something was left");
}

/// The twin of the above: with the ceiling raised, the same component compiles.
#[test]
fn a_higher_ceiling_moves_the_bounds() {
    let world = World::new();
    let file = write(&world, "many.wasm", &bombs::with(&bombs::locals(140, 15_500)));
    let error = world.run(&["plugin", "register", &file]).refused(6);
    assert!(error.to_string().contains("component.locals"), "{error}");
    fs::write(world.data().join("opsiq.toml"), "[ceiling]\ncomponent = \"24MiB\"\ncompile = \"5min\"\n").unwrap();
    world.run(&["plugin", "register", &file]).ok();
}

/// Each limit of the child ends it by its own name; with that one limit as it was, the same component compiles.
#[test]
fn each_limit_of_compiling_has_its_name() {
    let world = World::new();
    let toml = world.data().join("opsiq.toml");
    let file = write(&world, "plain.wasm", &bombs::with(&bombs::plain(12 << 20)));
    for (limit, code) in [
        ("compile-memory = \"80MiB\"\ncompile = \"5min\"", "compile.memory"),
        ("compile-memory = \"1MiB\"", "compile.memory"),
        ("compile = \"50ms\"", "compile.time"),
    ] {
        fs::write(&toml, format!("[ceiling]\n{limit}\n")).unwrap();
        let error = world.run(&["plugin", "register", &file]).refused(3);
        assert_eq!(error["code"], code, "{limit}: {error}");
        let name = limit.split(' ').next().unwrap();
        assert!(error["fix"].as_str().unwrap().contains(&format!("`{name}`")), "{error}");
        assert!(kept(&world).is_empty(), "something was left");
    }
    fs::write(&toml, "[ceiling]\ncompile = \"5min\"\n").unwrap();
    world.run(&["plugin", "register", &file]).ok();
}

/// Bombs within every bound are registered into a host that serves: each ends by a limit of its child, the host stays as
/// small as it was, and calls of another plugin never fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_costs_the_service_nothing() {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    world.configure("[ceiling]\ncompile = \"6s\"\n");
    let before = kept(&world);
    let host = Host::open(world.options()).await.unwrap();
    call(&host).await;
    let small = resident("VmRSS");

    let (over, serves) = (Arc::new(AtomicBool::new(false)), host.clone());
    let until = Arc::clone(&over);
    let calls = tokio::spawn(async move {
        let mut calls = 0_u32;
        while !until.load(Ordering::Relaxed) {
            call(&serves).await;
            calls += 1;
        }
        calls
    });
    let attacks = [
        // Many values that may come from many places: in one function, and in as many as there is room for.
        bombs::with(&bombs::tangle(1, 16_000, 4_000)),
        bombs::with(&bombs::tangle(120, 16_000, 4_000)),
    ];
    for (at, bomb) in attacks.into_iter().enumerate() {
        let begun = Instant::now();
        let refused = host.catalogue().register(&Actor::operator(), bomb).await.unwrap_err();
        assert!(matches!(refused.code.as_ref(), "compile.time" | "compile.memory"), "bomb {at}: {refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "bomb {at} took {:?}", begun.elapsed());
        assert!(compiling(std::process::id()).is_empty(), "bomb {at} left a child");
    }
    over.store(true, Ordering::Relaxed);
    let calls = calls.await.unwrap();
    assert!(calls > 100, "{calls} calls went through");
    let most = resident("VmHWM");
    assert!(most < small + (192 << 10), "it grew from {small} KiB to {most} KiB");
    host.close().await.unwrap();
    assert_eq!(kept(&world), before, "something was left");
}

async fn call(host: &Host) {
    let call = Call {
        installation: "hello".to_owned(),
        action: "hello".to_owned(),
        params: br#"{"name":"Ada"}"#.to_vec(),
        idempotency_key: None,
    };
    let answer = host.invoke(&Actor::user("acme".parse().unwrap(), "ada"), call).await;
    assert!(matches!(answer, Ok(Answer::Done(_))), "{answer:?}");
}

/// A registration that takes its time, and the child that compiles.
fn caught(world: &World) -> (std::process::Child, u32) {
    fs::write(world.data().join("opsiq.toml"), "[ceiling]\ncompile = \"60s\"\ncompile-memory = \"2GiB\"\n").unwrap();
    let file = write(world, "bomb.wasm", &bombs::with(&bombs::plain(15 << 20)));
    let mut command = world.start(&["plugin", "register", &file]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        // Its filter is the last thing it sets.
        let shut = |child: &u32| {
            fs::read_to_string(format!("/proc/{child}/status")).is_ok_and(|status| status.contains("Seccomp:\t2"))
        };
        if let Some(child) = compiling(command.id()).into_iter().find(shut) {
            return (command, child);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    command.kill().unwrap();
    panic!("no child compiles: {:?}", command.wait_with_output());
}

/// What the child has of the process that started it, looked at from outside: three pipes.
#[test]
fn the_child_has_nothing_but_its_pipes() {
    let world = World::new();
    let (mut command, child) = caught(&world);
    let proc = PathBuf::from(format!("/proc/{child}"));
    let status = fs::read_to_string(proc.join("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    if rustix::process::geteuid().is_root() {
        let open = fs::read_dir(proc.join("fd")).unwrap().map(|fd| fs::read_link(fd.unwrap().path()).unwrap());
        let open: Vec<_> = open.map(|path| path.to_string_lossy().into_owned()).collect();
        assert!(open.iter().all(|path| path.starts_with("pipe:")) && open.len() <= 3, "{open:?}");
        let environment = fs::read(proc.join("environ")).unwrap();
        let names: Vec<_> = environment.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
        let known: [&[u8]; 2] = [b"RAYON_NUM_THREADS=", b"MIMALLOC_ARENA_RESERVE=0"];
        assert!(
            names.len() == 2 && known.iter().all(|one| names.iter().any(|name| name.starts_with(one))),
            "{names:?}"
        );
        let limits = fs::read_to_string(proc.join("limits")).unwrap();
        let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        for (name, value) in [
            ("Max data size", "2147483648"),
            ("Max core file size", "0 "),
            ("Max file size", "0 "),
            ("Max open files", "3 "),
        ] {
            assert!(limit(name).contains(value), "{limits}");
        }
        assert!(!limit("Max cpu time").contains("unlimited") && !limit("Max address space").contains("unlimited"));
    }
    command.kill().unwrap();
    command.wait().unwrap();
}

/// Whoever waits for the child is killed: the child does not outlive it.
#[test]
fn the_child_dies_with_its_host() {
    let world = World::new();
    let (mut command, child) = caught(&world);
    command.kill().unwrap();
    command.wait().unwrap();
    gone(child);
    // An interrupted command takes its child along as well.
    let (mut command, child) = caught(&world);
    let pid = rustix::process::Pid::from_child(&command);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    command.wait().unwrap();
    gone(child);
    assert!(kept(&world).is_empty(), "something was left");
    world.run(&["doctor"]).ok();
}

fn gone(pid: u32) {
    let begun = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(begun.elapsed() < Duration::from_secs(2), "the child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Without a compiler that can be started and believed, nothing is registered.
#[tokio::test]
async fn there_is_no_way_around_the_child() {
    let world = World::new();
    let liar = world.file("liar");
    let hash = "\\000".repeat(32);
    fs::write(&liar, format!("#!/bin/sh\ncat > /dev/null\nprintf 'opsiqcj\\001{hash}\\000code'\n")).unwrap();
    assert!(Command::new("chmod").args(["755".as_ref(), liar.as_os_str()]).status().unwrap().success());
    for (program, why) in [
        (PathBuf::from("/nowhere/opsiq"), "could not be started"),
        (PathBuf::from("/bin/true"), "no answer"),
        (liar, "other settings"),
    ] {
        let refused = register(&world, Compiler::Child(program)).await.unwrap_err();
        assert_eq!(refused.code, "compiler.unavailable", "{refused:?}");
        assert!(refused.message.contains(why), "{refused:?}");
        assert!(kept(&world).is_empty(), "something was left");
    }
    register(&world, world.options().compiler).await.unwrap();
}

async fn register(world: &World, compiler: Compiler) -> Result<(), Refusal> {
    let host = Host::open(HostOptions { compiler, ..world.options() }).await.unwrap();
    let registered = host.catalogue().register(&Actor::operator(), fs::read(guest("hello")).unwrap()).await;
    host.close().await.unwrap();
    registered.map(|_| ())
}

/// What a registration does is said line by line where nobody watches a terminal, and not at all to a program.
#[test]
fn a_registration_says_what_it_does() {
    let world = World::new();
    let hello = guest("hello");
    let args = ["plugin", "register", hello.to_str().unwrap()];
    let mut command = Command::new(crate::opsiq::binary("opsiq"));
    let said = command.arg("--data").arg(world.data()).args(args).env_remove("OPSIQ_OUTPUT").output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("Checking ") && lines[1].starts_with("Compiling "), "{said}");
    assert!(lines[1].contains("functions") && lines[2].starts_with("Storing"), "{said}");
    let other = World::new().run(&args);
    other.ok();
    assert_eq!(other.stderr, "");
}
