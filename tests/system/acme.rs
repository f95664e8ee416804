//! A certificate from an authority nobody here made: Debian's `pebble`, which checks each signature, refuses some nonces on
//! purpose, and comes to the server's own port to see the proof.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::https::Served;
use crate::opsiq::World;

/// An authority that goes with the value.
struct Pebble {
    child: Child,
    directory: String,
}

impl Pebble {
    /// One that checks names at this port, trusted by `ca.pem`; or nothing where it is missing, which is said, and fails where
    /// it is promised.
    fn start(world: &World, port: u16) -> Option<Self> {
        if Command::new("pebble").arg("-h").stderr(Stdio::null()).status().is_err() {
            let promised = ["CI", "OPSIQ_REQUIRE_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!promised, "pebble is promised and missing: run .ci/setup");
            eprintln!("NOT TESTED: there is no pebble");
            return None;
        }
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(world.file("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let own = KeyPair::generate().unwrap();
        let issuer = Issuer::new(params, key);
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
        fs::write(world.file("pebble.pem"), leaf.pem()).unwrap();
        fs::write(world.file("pebble.key"), own.serialize_pem()).unwrap();
        let (listen, manage) = (free(), free());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{manage}"),
            "certificate": world.file("pebble.pem"),
            "privateKey": world.file("pebble.key"),
            "httpPort": free(),
            "tlsPort": port,
        }});
        fs::write(world.file("pebble.json"), config.to_string()).unwrap();
        let child = Command::new("pebble")
            .arg("-config")
            .arg(world.file("pebble.json"))
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "20")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, directory: format!("https://localhost:{listen}/dir") };
        wait("pebble listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, listen)).is_ok());
        Some(started)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[track_caller]
fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !until() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn serve(world: &World, port: u16, pebble: &Pebble) -> Served {
    let (listen, root) = (format!("127.0.0.1:{port}"), world.file("ca.pem"));
    Served::start(
        world,
        &[
            ("OPSIQ_SERVER__LISTEN", &listen),
            ("OPSIQ_SERVER__TLS_NAMES", "localhost"),
            ("OPSIQ_SERVER__ACME_DIRECTORY", &pebble.directory),
            ("OPSIQ_SERVER__ACME_CONTACT", "ops@example.com"),
            ("OPSIQ_SERVER__ACME_ACCEPT_TERMS", "true"),
            ("OPSIQ_SERVER__ACME_ROOT", root.to_str().unwrap()),
        ],
    )
}

/// The certificate that is shown to whoever asks for this protocol.
fn shown(port: u16, protocol: &str) -> String {
    let out = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost", "-alpn", protocol])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn an_authority_issues_and_what_it_issued_outlives_a_restart() {
    use rustls::pki_types::pem::PemObject as _;
    let (world, port) = (World::new(), free());
    let Some(pebble) = Pebble::start(&world, port) else { return };
    let served = serve(&world, port, &pebble);
    wait("one is issued", || served.watch("/metrics").contains("opsiq_acme_orders_total{outcome=\"issued\"} 1\n"));
    let told = shown(port, "h2");
    assert!(told.contains("Pebble Intermediate"), "{told}");
    let first = CertificateDer::from_pem_slice(told.as_bytes()).unwrap();
    // Nobody asked the authority to come, so there is nothing to show to one who says that it is.
    let stranger = shown(port, "acme-tls/1");
    assert!(!stranger.contains("BEGIN CERTIFICATE"), "{stranger}");
    drop(served);
    // What is good is not asked for again.
    let again = serve(&world, port, &pebble);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(CertificateDer::from_pem_slice(shown(port, "h2").as_bytes()).unwrap(), first);
    let metrics = again.watch("/metrics");
    for outcome in ["issued", "failed"] {
        assert!(metrics.contains(&format!("opsiq_acme_orders_total{{outcome=\"{outcome}\"}} 0\n")), "{metrics}");
    }
}

#[test]
fn an_authority_that_finds_no_proof_issues_nothing_and_that_is_told() {
    let (world, port) = (World::new(), free());
    // It comes to a port where nobody answers.
    let Some(pebble) = Pebble::start(&world, free()) else { return };
    let served = serve(&world, port, &pebble);
    wait("it fails", || served.watch("/metrics").contains("opsiq_acme_orders_total{outcome=\"failed\"} 1\n"));
    let told = shown(port, "h2");
    assert!(told.contains("of its own making"), "the one in use stays: {told}");
    let why = fs::read_to_string(world.data().join("acme-failure.txt")).unwrap();
    assert!(why.contains("could not check a name: localhost"), "{why}");
    drop(served);
    world.configure(&format!(
        "[server]\nacme-directory = \"{}\"\nacme-contact = \"ops@example.com\"\nacme-accept-terms = true\n\
         tls-names = [\"localhost\"]\n",
        pebble.directory
    ));
    let findings = world.run(&["doctor"]).json().to_string();
    assert!(findings.contains("none was issued for tls-names; the last attempt failed"), "{findings}");
}
