//! Upstreams whose TLS is not good enough, served by OpenSSL: nothing is said to them, in TLS or without it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::scanning::bare;

/// Whether there is an OpenSSL to test against, which is said aloud where there is none; with CI set that fails.
fn is_there() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "CI must have openssl: run .ci/setup");
        eprintln!("NOT RUN: openssl is missing; .ci/setup installs it");
    }
    there
}

/// A certificate authority of the company's own, and certificates of it, in files.
struct Authority<'w> {
    world: &'w World,
    issuer: Issuer<'static, KeyPair>,
}

impl<'w> Authority<'w> {
    fn new(world: &'w World) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(world.file("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let own = KeyPair::generate().unwrap();
        let nobody = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&own).unwrap();
        fs::write(world.file("nobody.pem"), nobody.pem()).unwrap();
        fs::write(world.file("nobody.key"), own.serialize_pem()).unwrap();
        Self { world, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a host, good from and until the first day of some year.
    fn issue(&self, name: &str, host: &str, from: i32, until: i32) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.world.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.world.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// `openssl s_server` with some certificate and versions, behind a relay that keeps the first bytes of each connection.
struct Server {
    child: Child,
    port: u16,
    began: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    fn start(world: &World, certificate: &str, more: &[&str]) -> Self {
        // Its own port is chosen by trying: it cannot say which one it took.
        let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (cert, key, accept) = (format!("{certificate}.pem"), format!("{certificate}.key"), behind.to_string());
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &accept, "-cert", &cert, "-key", &key])
            .args(more)
            .current_dir(world.file(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).is_err() {
            assert!(Instant::now() < until, "s_server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, began) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let log = began.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || relay(near, behind, &log));
            }
        });
        Self { child, port, began }
    }

    /// How each connection began.
    fn began(&self) -> Vec<Vec<u8>> {
        self.began.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn relay(mut near: TcpStream, behind: u16, log: &Mutex<Vec<Vec<u8>>>) {
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).unwrap();
    let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Write);
    });
    let mut first = [0; 4096];
    let at = {
        let mut log = log.lock().unwrap();
        log.push(Vec::new());
        log.len() - 1
    };
    if let Ok(count @ 1..) = near.read(&mut first) {
        log.lock().unwrap()[at] = first[..count].to_vec();
        let _ = far.write_all(&first[..count]);
        let _ = std::io::copy(&mut near, &mut far);
    }
    let _ = far.shutdown(Shutdown::Write);
    let _ = back.join();
}

/// Every way a certificate or a version can be wrong, and the twin of each: the one that is right.
#[test]
fn what_is_not_good_tls_is_closed_and_never_asked_in_plain() {
    if !is_there() {
        return;
    }
    let world = World::new();
    let authority = Authority::new(&world);
    authority.issue("good", "localhost", 2020, 2099);
    authority.issue("expired", "localhost", 2020, 2021);
    authority.issue("early", "localhost", 2098, 2099);
    authority.issue("misnamed", "other.example", 2020, 2099);
    let (modern, old) = (&["-tls1_3"][..], &["-tls1_2"][..]);
    let oldest = &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..];
    let servers: Vec<_> = [
        ("good", "good", modern, true),
        ("expired", "expired", modern, false),
        ("not yet valid", "early", modern, false),
        ("of another name", "misnamed", modern, false),
        ("of nobody", "nobody", modern, false),
        ("TLS 1.2", "good", old, false),
        ("TLS 1.1", "good", oldest, false),
        ("no TLS 1.3 to be had, good or bad", "expired", old, false),
    ]
    .map(|(what, certificate, more, serves)| (what, Server::start(&world, certificate, more), serves))
    .into_iter()
    .collect();
    let config =
        format!("[egress]\nroots = [{:?}]\n[ceiling.limits]\nhttp-connect = \"500ms\"\n", world.file("ca.pem"));
    let target =
        |server: &Server, cidr| format!("[[ceiling.private-target]]\ncidr = \"{cidr}\"\nport = {}\n", server.port);
    let targets =
        |(_, server, _): &(_, Server, _)| ["127.0.0.1/32", "::1/128"].map(|cidr| target(server, cidr)).concat();
    let listed: Vec<String> = servers.iter().map(targets).collect();
    world.configure(&(config + &listed.concat()));
    let fetch = |name: &str, port: u16| {
        let base = format!("https://localhost:{port}");
        world.install(&guest("hostile"), name, &[("base-url", &base)], &[("signing-secret", SECRET)]);
        world.call(name, "fetch", &json!({ "url": format!("{base}/x"), "method": "GET" }))
    };
    let mut told = Vec::new();
    for (nth, (what, server, serves)) in servers.iter().enumerate() {
        let ran = fetch(&format!("evil-{nth}"), server.port);
        let began = server.began();
        // One connection, which begins as TLS does (RFC 8446 section 5.1: a handshake record), and no other after it.
        assert_eq!(began.len(), 1, "{what}");
        assert!(began[0].starts_with(&[0x16, 0x03]), "{what}: {:?}", String::from_utf8_lossy(&began[0]));
        if *serves {
            assert_eq!(ran.ok()["result"]["status"], 200, "{what}");
        } else {
            told.push(bare(&ran.refused(7)));
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "a plugin is not told which it was: {told:?}");
    // The operator alone lets a host speak TLS 1.2, by its name, and a bad certificate stays bad.
    let config = fs::read_to_string(world.data().join("opsiq.toml")).unwrap();
    fs::write(world.data().join("opsiq.toml"), config.replace("\n[egress]\n", "\n[egress]\ntls12 = [\"localhost\"]\n"))
        .unwrap();
    let named = |name: &str| servers.iter().position(|(what, ..)| *what == name).unwrap();
    let ask = |nth: usize| {
        let url = format!("https://localhost:{}/x", servers[nth].1.port);
        world.call(&format!("evil-{nth}"), "fetch", &json!({ "url": url, "method": "GET" }))
    };
    assert_eq!(ask(named("TLS 1.2")).ok()["result"]["status"], 200);
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "5"]).ok().to_string();
    assert!(log.contains("TLS 1.2"), "and it is on record: {log}");
    ask(named("TLS 1.1")).refused(7);
    ask(named("no TLS 1.3 to be had, good or bad")).refused(7);
}
