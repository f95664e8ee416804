//! Other days, for commands.

use std::path::PathBuf;

/// Shows commands another day: Debian's `libfaketime`. Where it is missing that is said; where it is promised, the test fails.
pub(crate) struct Clock(PathBuf);

impl Clock {
    pub(crate) fn new() -> Option<Self> {
        let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|arch| format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1"));
        let found = folders.iter().map(PathBuf::from).find(|path| path.exists());
        if found.is_none() {
            let promised = ["CI", "OPSIQ_REQUIRE_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!promised, "libfaketime is promised and missing: apt-get install faketime");
            eprintln!("NOT TESTED: there is no libfaketime");
        }
        found.map(Self)
    }

    /// Lets a command believe it is so many days later.
    pub(crate) fn forward(&self, command: &mut std::process::Command, days: u32) {
        self.at(command, &format!("+{days}d"));
    }

    /// Lets a command believe what libfaketime calls so, such as `@2025-01-01 10:00:00`.
    pub(crate) fn at(&self, command: &mut std::process::Command, when: &str) {
        // Timers go on as they are.
        command.env("LD_PRELOAD", &self.0).env("FAKETIME", when).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
