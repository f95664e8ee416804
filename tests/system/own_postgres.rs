//! A `PostgreSQL` server of one test's own, which it may stop in the middle of anything.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Where distributions put its programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Either says that servers are there.
const PROMISES: [&str; 2] = ["CI", "OPSIQ_REQUIRE_SERVERS"];
/// Who it runs as when the test is root, which it refuses to be.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server with two databases; it ends with the value.
pub(crate) struct OwnPostgres {
    dir: TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
}

impl OwnPostgres {
    /// A new one; `None` where its programs are not installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                PROMISES.iter().all(|name| std::env::var_os(name).is_none()),
                "PostgreSQL is promised, and its programs are not under {VERSIONS}"
            );
            eprintln!("NOT TESTED: there is no PostgreSQL under {VERSIONS}");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let user = rustix::process::getuid().is_root().then(unprivileged);
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { dir, programs, user, port };
        server.run("initdb", &["--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--locale", "C"]);
        server.up();
        for name in ["opsiq", "opsiq_keys"] {
            let port = server.port.to_string();
            server.run("createdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", name]);
        }
        Some(server)
    }

    /// The url of one of its databases, `opsiq` or `opsiq_keys`.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it as a crash would: no connection is served to its end, and it recovers when it starts again.
    pub(crate) fn crash(&self) {
        self.run("pg_ctl", &["stop", "-m", "immediate", "-w"]);
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn up(&self) {
        let (log, sockets) = (self.dir.path().join("log"), self.dir.path().display());
        let settings = format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={sockets}", self.port);
        self.run("pg_ctl", &["start", "-w", "-l", log.to_str().unwrap(), "-o", &settings]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = self.command(program, args).status().unwrap();
        assert!(status.success(), "{program} {args:?}: {status}");
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).env("PGDATA", self.dir.path().join("data")).current_dir(self.dir.path());
        // The server keeps what it inherits, and who reads the test's output would wait for it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // One that is stopped already has nothing to end.
        let _ = self.command("pg_ctl", &["stop", "-m", "immediate", "-w"]).status();
    }
}

/// Those of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    newest.max_by_key(version).map(|path| path.join("bin"))
}

fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let found = USERS.iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    found.unwrap_or_else(|| panic!("there is none of {USERS:?} to run PostgreSQL as"))
}
