//! Where a plugin may not go, no packet goes: counted by the kernel, in a network of the process's own.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::stream::Stream;

/// A network that leads nowhere and answers for every address there is: whatever is sent anywhere is counted, and nothing
/// fails for want of a route.
const NETWORK: &str =
    "ip link set lo up && ip route add local default dev lo && { ip -6 route add local default dev lo || true; }";

/// A command that runs in such a network; `None` where the machine lets nobody make one, which is said aloud; with CI set
/// that fails.
fn apart(command: &Command) -> Option<Command> {
    let within = |rest: &str| {
        let mut apart = Command::new("unshare");
        apart.args(["--map-root-user", "--net", "sh", "-c", &format!("{NETWORK} && {rest}"), "sh"]);
        apart
    };
    let tried = within("true").stdin(Stdio::null()).output();
    if !tried.as_ref().is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must let a process have a network of its own: {tried:?}");
        eprintln!("NOT RUN: no network of its own can be made here: {tried:?}");
        return None;
    }
    let mut apart = within("exec \"$@\"");
    apart.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => apart.env(name, value),
            None => apart.env_remove(name),
        };
    }
    apart.stdout(Stdio::piped()).stderr(Stdio::null());
    Some(apart)
}

/// Packets of all interfaces in the network of a process, both ways.
fn packets(pid: u32) -> u64 {
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    // After the name: bytes and packets received, of eight columns, then the same sent.
    let count = |line: &str| {
        let columns: Vec<u64> =
            line.split_once(':')?.1.split_whitespace().map_while(|column| column.parse().ok()).collect();
        Some(columns.get(1)? + columns.get(9)?)
    };
    let lines: Vec<_> = table.lines().filter_map(count).collect();
    assert_eq!(lines.len(), 1, "only its own: {table}");
    lines.iter().sum()
}

/// Hosts of URLs, each at a port of the open internet's own and asked by http and https.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "127.0.0.1.",
    "0.0.0.0",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "10.0.0.1",
    "100.64.0.1",
    "255.255.255.255",
    // Of the open internet, and this machine's own.
    "9.9.9.1",
];

/// URLs that are none to the host, or not what they look like.
const URLS: &[&str] = &[
    "unix:/run/docker.sock",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/x",
    "ftp://127.0.0.1/x",
    "https://example.com@127.0.0.1/x",
    "https://user:pw@127.0.0.1/x",
    "https://[fe80::1%25d0]/x",
    "https://[fe80::1%d0]/x",
    "https://127.0.0.1#@example.com/x",
    "https://example.com\\@127.0.0.1/x",
    "//127.0.0.1/x",
    "https://127。0。0。1/x",
    "https://localhost./x",
];

#[test]
fn no_packet_leaves_for_a_forbidden_address() {
    let world = World::new();
    world.configure(
        "[ceiling.limits]\nhttp-connect = \"100ms\"\n[[ceiling.private-target]]\ncidr = \"10.9.9.9/32\"\nport = 80\ntls = false\n",
    );
    let Some(apart) = apart(&world.command(&["--as", "acme/ada", "action", "stream", "--concurrency", "1"])) else {
        return;
    };
    let bases: Vec<_> =
        HOSTS.iter().flat_map(|host| [format!("https://{host}"), format!("http://{host}:8080")]).collect();
    for (nth, base) in bases.iter().enumerate() {
        world.install(&guest("hostile"), &format!("evil-{nth}"), &[("base-url", base)], &[("signing-secret", SECRET)]);
    }
    world.install(&guest("hostile"), "listed", &[("base-url", "http://10.9.9.9")], &[("signing-secret", SECRET)]);
    let mut stream = Stream::by(apart);
    let pid = stream.pid();
    let mut ask = |installation: &str, url: &str| {
        stream.call(0, installation, "fetch", &json!({ "url": url, "method": "GET" }));
        stream.answer(Duration::from_secs(20))
    };
    ask("evil-0", URLS[0]);
    let before = packets(pid);
    for (nth, base) in bases.iter().enumerate() {
        let answer = ask(&format!("evil-{nth}"), &format!("{base}/x"));
        assert!(answer["error"]["code"].is_string(), "{base}: {answer}");
        assert_eq!(packets(pid), before, "{base} sent a packet");
    }
    for url in URLS {
        let answer = ask("evil-0", url);
        assert!(answer["error"]["code"].is_string(), "{url}: {answer}");
        assert_eq!(packets(pid), before, "{url} sent a packet");
    }
    // The twin: the same request to an address that the operator listed is counted.
    let answer = ask("listed", "http://10.9.9.9/x");
    assert!(answer["error"]["code"].is_string(), "nobody is there: {answer}");
    assert!(packets(pid) > before, "nothing is counted");
}
