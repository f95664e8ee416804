//! A plugin is no port scanner: what it is told, and when, does not depend on what is at the other end.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dns::NameServer;
use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::stream::Stream;

/// When every failure to connect is answered.
const CONNECT: Duration = Duration::from_millis(600);
/// How far apart answers of one class may be: a process of its own, its audit log on disk, and a busy machine.
const APART: Duration = Duration::from_millis(150);

/// A port that answers nothing to whoever wants to connect, as behind a filter: its queue is full.
struct Filtered {
    port: u16,
    _held: (TcpListener, Vec<TcpStream>),
}

impl Filtered {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            held.push(stream);
            assert!(held.len() < 8192, "the queue has no end");
        }
        Self { port: address.port(), _held: (listener, held) }
    }
}

#[test]
fn open_closed_filtered_and_unknown_look_alike_from_outside() {
    let (world, names) = (World::new(), NameServer::start());
    names.serves(&world);
    names.says("inside.test", 60, &["127.0.0.1"]);
    names.says("silent.test", 60, &[""]);
    let open = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let listed_closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let (filtered, served) = (Filtered::start(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let (open_port, served_port) = (open.local_addr().unwrap().port(), served.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in served.incoming().flatten() {
            // What is said before the request came would be nobody's answer.
            let _ = std::io::Read::read(&mut &stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut &stream, &crate::upstream::raw(200, &["connection: close"], "{}"));
        }
    });
    let config = format!("[ceiling.limits]\nhttp-connect = \"{}ms\"\n", CONNECT.as_millis());
    world.configure(&config);
    for port in [listed_closed, filtered.port, served_port] {
        world.open_loopback(port);
    }
    let targets = [
        ("open, not listed", format!("http://127.0.0.1:{open_port}")),
        ("closed, not listed", format!("http://127.0.0.1:{closed}")),
        ("open behind a name", format!("http://inside.test:{open_port}")),
        ("closed behind a name", format!("http://inside.test:{closed}")),
        ("closed, listed", format!("http://127.0.0.1:{listed_closed}")),
        ("filtered, listed", format!("http://127.0.0.1:{}", filtered.port)),
        ("no TLS at the other end", format!("https://127.0.0.1:{served_port}")),
        ("metadata", "http://169.254.169.254".to_owned()),
        ("a name that is none", "https://none.test".to_owned()),
        ("a name server that is silent", "https://silent.test".to_owned()),
        ("open and listed", format!("http://127.0.0.1:{served_port}")),
    ];
    for (nth, (_, base)) in targets.iter().enumerate() {
        world.install(&guest("hostile"), &format!("scan-{nth}"), &[("base-url", base)], &[("signing-secret", SECRET)]);
    }
    let mut stream = Stream::start(&world, 1);
    let (mut told, mut took) = (Vec::new(), Vec::new());
    let fetch = |stream: &mut Stream, nth: usize| {
        let began = Instant::now();
        let url = format!("{}/x", targets[nth].1);
        stream.call(0, &format!("scan-{nth}"), "fetch", &json!({ "url": url, "method": "GET" }));
        (stream.answer(Duration::from_secs(10)), began.elapsed())
    };
    let (last, failing) = (targets.len() - 1, targets.len() - 1);
    // The twin, and what compiles the plugin before anything is timed.
    let (answer, quick) = fetch(&mut stream, last);
    assert_eq!(answer["data"]["result"]["status"], 200, "{answer}");
    for nth in 0..failing {
        // The quickest of three: a machine that is busy makes calls slower, never quicker.
        let tries: Vec<_> = (0..3).map(|_| fetch(&mut stream, nth)).collect();
        took.push(tries.iter().map(|(_, took)| *took).min().unwrap());
        told.extend(tries.iter().map(|(answer, _)| bare(&answer["error"])));
    }
    let what: Vec<_> = targets.iter().map(|(what, _)| what).zip(&took).collect();
    told.dedup();
    assert_eq!(told.len(), 1, "one text for all: {told:#?}");
    let (soonest, latest) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    let apart = latest.saturating_sub(*soonest);
    assert!(*soonest >= CONNECT && *latest < CONNECT + APART && apart < APART, "one time for all: {what:?}");
    eprintln!("failures within {apart:?} of one another; an answer took {quick:?}");
    open.set_nonblocking(true).unwrap();
    assert!(open.accept().is_err(), "and nobody came where nobody may go");
    // What the plugin is not told, the log says.
    assert_eq!(stream.end().1, Some(0));
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "200"]).ok().to_string();
    for reason in ["127.0.0.0/8", "no connection:", "no connection within", "does not resolve", "169.254.169.254"] {
        assert!(log.contains(reason), "{reason} is not on record");
    }
}

/// What an error says of why, which is all that a plugin or its caller learns.
pub(crate) fn bare(error: &Value) -> [Value; 4] {
    let refusal = &error["refusal"];
    [&error["code"], &error["title"], &error["fix"], &refusal["message"]].map(Value::clone)
}
