//! A plugin cannot tell why a destination was not reached: not by the answer, and not by the time it takes.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_contract::PrivateTarget;
use opsiq_egress::{GuestRequest, HttpFailure};
use support::{Names, World, failed, get, rule};
use tokio::net::TcpSocket;

/// A listener whose queue is full, so that further connections are neither accepted nor refused, as behind a firewall.
async fn filtered() -> (std::net::SocketAddr, Vec<Box<dyn std::any::Any>>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held: Vec<Box<dyn std::any::Any>> = vec![Box::new(listener)];
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        held.push(Box::new(stream));
    }
    (address, held)
}

#[tokio::test]
async fn refused_closed_filtered_unknown_and_untrusted_look_the_same() {
    let (filtered, _held) = filtered().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), b"220 mail.test ESMTP\r\n");
        }
    });
    let listed = |port| PrivateTarget { cidr: "127.0.0.1/32".parse().unwrap(), port, tls: false };
    let cases = [
        ("closed", format!("http://127.0.0.1:{}/x", closed.port()), "no connection:"),
        ("filtered", format!("http://127.0.0.1:{}/x", filtered.port()), "no connection within"),
        ("refused", "http://10.0.0.1/x".to_owned(), "Private 10.0.0.0/8"),
        ("unknown", "http://no.test/x".to_owned(), "does not resolve"),
        ("no TLS", format!("https://127.0.0.1:{}/x", no_tls.port()), "no TLS 1.3"),
    ];
    for guest_timeout in [None, Some(120)] {
        let mut times = Vec::new();
        for (what, url, detail) in &cases {
            let targets = vec![listed(closed.port()), listed(filtered.port()), listed(no_tls.port())];
            let mut world = World::new(vec![rule("all", &["GET"], url)], targets);
            world.names = Arc::new(Names::default());
            let session = world.session();
            let began = Instant::now();
            let request = GuestRequest { timeout_ms: guest_timeout, ..get(url) };
            let failure = failed(session.send(request).await);
            times.push((began.elapsed(), *what));
            let expected =
                if guest_timeout.is_none() { HttpFailure::Unreachable } else { HttpFailure::TimedOut { sent: false } };
            assert_eq!(failure, expected, "{what}");
            let record = format!("{:?}", session.records());
            assert!(record.contains(detail) || guest_timeout.is_some(), "{what}: {record}");
        }
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        // The fixed time is 325 ms here; the difference is what a loaded machine takes to wake up.
        let floor = Duration::from_millis(guest_timeout.map_or(325, u64::from));
        assert!(least.0 >= floor && most.0 < least.0 + Duration::from_millis(250), "{times:?}");
    }
}
