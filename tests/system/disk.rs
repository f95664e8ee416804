//! A full disk: what has an effect is refused at once and does nothing; when space returns, all goes on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::opsiq::World;
use crate::orders;
use crate::upstream::{Reply, Upstream};

/// A small file system of its own, gone with the value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"]).arg(at).status();
        done.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    /// Leaves no byte free; the file to remove when space shall return.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![1_u8; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_risky_calls_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("disk");
    let Some(disk) = SmallDisk::mount(&at) else {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a small file system");
        eprintln!("NOT RUN: a full disk needs the right to mount a small file system (run as root)");
        return;
    };
    let world = World::at(tempfile::tempdir().unwrap(), at.join("data"));
    let server = Upstream::start(|_| Reply::json(201, &orders::refund()));
    orders::install(&world, &server.url(), server.port);
    let id = orders::propose(&world, 500);

    let filler = disk.fill();
    for args in [
        vec!["--as", "acme/ada", "confirm", "approve", &id],
        vec![
            "--as",
            "acme/ada",
            "action",
            "call",
            "shop",
            "refund-order",
            "--params",
            r#"{"id":"A-1","amount":7,"currency":"EUR","reason":"x"}"#,
        ],
    ] {
        let start = Instant::now();
        let ran = world.run(&args);
        assert!(start.elapsed() < Duration::from_secs(3), "took {:?}: {ran:?}", start.elapsed());
        ran.refused(8);
    }
    assert_eq!(server.seen().len(), 0, "an effect without a durable intent");

    fs::remove_file(filler).unwrap();
    world.run(&["--as", "acme/ada", "confirm", "approve", &id]).ok();
    assert_eq!(server.seen().len(), 1);
    world.run(&["doctor"]).ok();
}
