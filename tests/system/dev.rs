//! `opsiq dev`: from nothing to a first signed call, and in no directory but its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::https::terminate;
use crate::opsiq::{World, binary, guest};

/// `opsiq` in a directory, with nothing of it in its environment.
fn opsiq(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary("opsiq"));
    command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OPSIQ_")) {
        command.env_remove(name);
    }
    command.env("OPSIQ_SERVER__LISTEN", "127.0.0.1:0").env("OPSIQ_SERVER__OPERATOR_LISTEN", "127.0.0.1:0");
    command
}

/// A development server; it ends with the value.
struct Dev {
    child: Child,
    /// The lines to paste into a shell.
    exports: String,
    /// Open as long as it runs: it ends when nobody reads what it says.
    _stdout: BufReader<ChildStdout>,
}

impl Dev {
    fn start(dir: &Path, words: &[&str]) -> Self {
        let mut child = opsiq(dir, words).spawn().unwrap();
        let mut exports = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for line in stdout.by_ref().lines() {
            let line = line.unwrap();
            if line.starts_with("export ") {
                exports.push_str(&line);
                exports.push('\n');
            }
            if line.starts_with("export OPSIQ_CLIENT_SECRET=") {
                break;
            }
        }
        assert!(exports.contains("OPSIQ_CLIENT_SECRET"), "it said: {exports}");
        Self { child, exports, _stdout: stdout }
    }

    /// Runs a line of shell where the lines were pasted.
    fn shell(&self, dir: &Path, line: &str) -> String {
        let path = format!("{}:{}", binary("opsiq").parent().unwrap().display(), std::env::var("PATH").unwrap());
        let out = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\n{}{line}", self.exports)])
            .current_dir(dir)
            .env("PATH", path)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        terminate(&self.child);
        let _ = self.child.wait();
    }
}

const URL: &str = "URL=$OPSIQ_ADDR/v1/installations/hello/actions/hello/call\n";
const SEND: &str = "printf '{\"name\":\"Ada\"}' > body
opsiq signature sign --url $URL --body body -o table |
    curl --silent --show-error --cacert $OPSIQ_CA -H @- -H 'content-type: application/json' --data-binary @body $URL";

#[test]
fn from_nothing_to_a_signed_call_in_three_commands() {
    let dir = TempDir::new().unwrap();
    let plugin = guest("hello");
    // One: serve. Two: paste the lines it printed. Three: call.
    let dev = Dev::start(dir.path(), &["dev", "--plugin", plugin.to_str().unwrap()]);
    let called = dev.shell(dir.path(), "opsiq action call hello hello --param name=Ada");
    assert!(called.contains("Ada!"), "{called}");
    // The same as another program does it.
    let called = dev.shell(dir.path(), &format!("{URL}{SEND}"));
    assert!(called.contains("Ada") && called.contains("\"status\":\"done\""), "{called}");
    assert!(dir.path().join("opsiq-dev/made-by-dev").is_file());
    let earlier = dev.exports.clone();
    drop(dev);

    // The next start ends what the one before handed out.
    let mut dev = Dev::start(dir.path(), &["dev"]);
    assert!(dev.shell(dir.path(), &format!("{URL}{SEND}")).contains("\"status\":\"done\""));
    let addr = dev.exports.lines().find(|line| line.starts_with("export OPSIQ_ADDR=")).unwrap().to_owned();
    dev.exports = format!("{earlier}{addr}\n");
    let refused = dev.shell(dir.path(), &format!("{URL}{SEND}"));
    assert!(refused.contains("signature.invalid"), "{refused}");
}

#[test]
fn it_works_in_no_directory_but_its_own_and_in_the_one_that_is_named() {
    let world = World::new();
    let refused = world.run(&["dev"]).refused(3);
    assert_eq!(refused["code"], "dev.not-its-own");
    assert!(world.run(&["tenant", "list"]).ok().as_array().unwrap().is_empty(), "nothing was made in it");

    let dir = TempDir::new().unwrap();
    drop(Dev::start(dir.path(), &["--data", "opsiq-data", "dev"]));
    assert!(dir.path().join("opsiq-data/made-by-dev").is_file());
    assert!(!dir.path().join("opsiq-dev").exists());
}
