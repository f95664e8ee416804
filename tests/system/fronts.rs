//! Smuggling, behind what stands in front of real upstreams: nginx and `HAProxy`, each with its own idea of where a request
//! ends and with connections kept to the server behind, where a second request hidden in a first one would come out.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::stream::Stream;
use crate::upstream::{Lasting, raw};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: hidden\r\n\r\n";

/// A server in front of another, which ends with the value.
struct Front {
    child: Child,
    port: u16,
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Front {
    /// `None` where the program is missing, which is said aloud; with CI set that fails.
    fn start(world: &World, name: &str, behind: u16) -> Option<Self> {
        let program = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"].map(|dir| format!("{dir}/{name}"));
        let Some(program) = program.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
            assert!(std::env::var_os("CI").is_none(), "CI must have {name}: run .ci/setup");
            eprintln!("NOT RUN: {name} is missing; .ci/setup installs it");
            return None;
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let dir = world.file(name);
        fs::create_dir_all(dir.join("temp")).unwrap();
        let (file, dir) = (dir.join("config"), dir.display());
        let config = if name == "nginx" {
            let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {dir}/temp/{kind};\n"))
                .concat();
            format!(
                "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/errors;\nevents {{ }}\nhttp {{\naccess_log off;\n{temp}\
                 upstream behind {{ server 127.0.0.1:{behind}; keepalive 4; }}\n\
                 server {{ listen 127.0.0.1:{port};\nlocation / {{ proxy_pass http://behind; proxy_http_version 1.1;\n\
                 proxy_set_header connection \"\"; proxy_set_header host $http_host; }} }}\n}}\n"
            )
        } else {
            format!(
                "global\n  maxconn 64\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n\
                 frontend front\n  bind 127.0.0.1:{port}\n  default_backend behind\n\
                 backend behind\n  http-reuse always\n  server one 127.0.0.1:{behind}\n"
            )
        };
        fs::write(&file, config).unwrap();
        let path = file.to_str().unwrap();
        let args = if name == "nginx" { ["-e", "stderr", "-c", path] } else { ["-q", "-db", "-f", path] };
        let child =
            Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let front = Self { child: child.unwrap(), port };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < until, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(front)
    }
}

/// Requests that carry another one, or say in two ways where they end.
fn tries(base: &str) -> Vec<Value> {
    let url = format!("{base}/carrier");
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let bodies = [HIDDEN, chunked.as_str(), "5\r\nhello\r\n0\r\n\r\n"];
    let mut all = Vec::new();
    for body in bodies {
        for method in ["POST", "PUT", "GET", "HEAD"] {
            all.push(json!({ "url": url, "method": method, "body": body }));
        }
        for (name, value) in [
            ("Transfer-Encoding", "chunked"),
            ("transfer-encoding", "identity, chunked"),
            ("Transfer-Encoding ", "chunked"),
            ("Transfer-Encoding:", "chunked"),
            ("Transfer_Encoding", "chunked"),
            ("\u{b}transfer-encoding", "chunked"),
            ("x-transfer-encoding", "chunked"),
            ("Content-Length", "0"),
            ("Content_Length", "0"),
            ("content-length ", "0"),
            ("Connection", "content-length"),
            ("Connection", "close, x"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("TE", "trailers, chunked"),
            ("x-a", "1\r\ntransfer-encoding: chunked"),
            ("x-a", "1\ntransfer-encoding: chunked"),
            ("x-a", "1\rtransfer-encoding: chunked"),
            ("x-a", "1\r\n transfer-encoding: chunked"),
            ("x-a\r\ntransfer-encoding", "chunked"),
            ("x-a", "1\0"),
        ] {
            all.push(json!({ "url": url, "method": "POST", "body": body, "headers": { name: value } }));
        }
    }
    for path in
        ["/carrier HTTP/1.1\r\nhost: x\r\n\r\nGET /hidden", "/carrier%0d%0a%0d%0aGET%20/hidden", "/carrier\r\n", "/a b"]
    {
        all.push(json!({ "url": format!("{base}{path}"), "method": "GET" }));
    }
    for method in ["GET /hidden HTTP/1.1\r\nhost: x\r\n\r\nGET", "GET\r\n", "get", "CONNECT", "TRACE", "G\0T"] {
        all.push(json!({ "url": url, "method": method }));
    }
    all
}

fn smuggling(name: &str) {
    let world = World::new();
    let behind = Lasting::start(IpAddr::V4(Ipv4Addr::LOCALHOST), |_, _, request| {
        let body = json!({ "target": request.target }).to_string();
        if request.method == "HEAD" { raw(200, &[], "") } else { raw(200, &[], &body) }
    });
    let Some(front) = Front::start(&world, name, behind.port) else { return };
    world.open_loopback(front.port);
    let base = format!("http://127.0.0.1:{}", front.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &base)], &[("signing-secret", SECRET)]);
    let mut stream = Stream::start(&world, 1);
    let mut ask = |params: &Value| {
        stream.call(0, "evil", "fetch", params);
        stream.answer(Duration::from_secs(10))
    };
    let (mut refused, mut carried) = (0, 0);
    for (nth, params) in tries(&base).iter().enumerate() {
        let before = behind.seen().len();
        let answer = ask(params);
        let came: Vec<_> = behind.seen().into_iter().skip(before).map(|(_, request)| request).collect();
        if answer["ok"] == true {
            carried += 1;
            // What the front itself does not like it answers, and nothing comes through.
            assert!(came.len() <= 1, "{params} became {came:?}");
        } else {
            refused += 1;
            assert!(came.is_empty(), "{params} was refused and became {came:?}");
        }
        assert!(came.iter().all(|request| request.target.starts_with("/carrier")), "{params} became {came:?}");
        // Whoever asks next, over the same connections, gets the answer to that.
        let own = format!("/own-{nth}");
        let answer = ask(&json!({ "url": format!("{base}{own}"), "method": "GET" }));
        assert_eq!(answer["data"]["result"]["body"], json!({ "target": own }).to_string(), "after {params}: {answer}");
    }
    assert!(refused > 40 && carried > 10, "{refused} refused, {carried} carried");
    assert!(behind.made() < 20, "the connections behind are kept: {}", behind.made());
    assert!(behind.seen().iter().all(|(_, request)| request.target != "/hidden"));
    // The twin: what comes out behind as a second request is seen as one.
    let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, front.port)).unwrap();
    plain.write_all(format!("GET /carrier HTTP/1.1\r\nhost: x\r\n\r\n{HIDDEN}").as_bytes()).unwrap();
    plain.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while !behind.seen().iter().any(|(_, request)| request.target == "/hidden") {
        assert!(Instant::now() < until, "two requests on one connection came through as one");
        let _ = plain.read(&mut [0; 4096]);
    }
}

#[test]
fn no_request_hides_in_another_behind_nginx() {
    smuggling("nginx");
}

#[test]
fn no_request_hides_in_another_behind_haproxy() {
    smuggling("haproxy");
}
