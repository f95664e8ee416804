//! Answers that drip, never end, unpack without end or come twice, and requests that are too much: each ends at a limit with
//! a name, in bounded time and memory, in a process that serves the next call as before.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::opsiq::{World, guest};
use crate::orders::{self, SECRET};
use crate::stream::Stream;
use crate::upstream::{Lasting, Reply, Upstream, raw};

/// How a server treats the one who asks.
type Treatment = fn(&mut TcpStream) -> std::io::Result<()>;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

fn drips(stream: &mut TcpStream, text: impl Iterator<Item = u8>) -> std::io::Result<()> {
    for byte in text {
        stream.write_all(&[byte])?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Each, by the name of the limit that the plugin is told of.
const TREATMENTS: &[(&str, &str, Treatment)] = &[
    ("a head that drips", "http-min-rate", |stream| drips(stream, HEAD.iter().copied().chain(std::iter::repeat(b'x')))),
    ("a body that drips", "http-min-rate", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"content-length: 1000\r\n\r\n")?;
        drips(stream, std::iter::repeat(b'x'))
    }),
    ("chunks that drip", "http-min-rate", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
        drips(stream, b"1\r\nx\r\n".iter().copied().cycle())
    }),
    ("a chunk's size that drips", "http-min-rate", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
        drips(stream, std::iter::repeat(b'0'))
    }),
    ("chunks without end", "response-max", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
        let chunk = [b"4000\r\n".to_vec(), vec![b' '; 0x4000], b"\r\n".to_vec()].concat();
        loop {
            stream.write_all(&chunk)?;
        }
    }),
    ("a body without length or end", "response-max", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"\r\n")?;
        loop {
            stream.write_all(&[b' '; 0x4000])?;
        }
    }),
    ("gzip of a thousandfold", "response-max", |stream| {
        let mut coder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..256 {
            coder.write_all(&vec![b' '; 1 << 20])?;
        }
        let bomb = coder.finish()?;
        assert!(bomb.len() < (256 << 20) / 900, "{}", bomb.len());
        stream.write_all(HEAD)?;
        stream.write_all(format!("content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).as_bytes())?;
        stream.write_all(&bomb)
    }),
    ("100,000 headers", "http-header", |stream| {
        stream.write_all(HEAD)?;
        for nth in 0..100_000 {
            stream.write_all(format!("x-{nth}: 1\r\n").as_bytes())?;
        }
        stream.write_all(b"content-length: 2\r\n\r\n{}")
    }),
    ("a header of 16 MiB", "http-header-bytes", |stream| {
        stream.write_all(HEAD)?;
        stream.write_all(b"x-long: ")?;
        for _ in 0..1_024 {
            stream.write_all(&[b'x'; 0x4000])?;
        }
        stream.write_all(b"\r\ncontent-length: 2\r\n\r\n{}")
    }),
    ("hints without end", "http-header-bytes", |stream| {
        loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")?;
        }
    }),
    ("silence", "time", |stream| stream.read(&mut [0; 1]).map(|_| ())),
];

/// Answers as `TREATMENTS` say, by the last part of the path, and well to any other.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut reader = BufReader::new(stream.try_clone()?);
                let (mut first, mut line) = (String::new(), String::new());
                reader.read_line(&mut first)?;
                while line != "\r\n" {
                    line.clear();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                }
                let last = first.split(' ').nth(1).and_then(|path| path.rsplit('/').next()?.parse::<usize>().ok());
                match last.and_then(|nth| TREATMENTS.get(nth)) {
                    Some((.., treat)) => treat(&mut stream),
                    None => stream.write_all(&raw(200, &["connection: close"], &orders::order("o-1").to_string())),
                }
            });
        }
    });
    port
}

/// The most memory a process had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The ordinary connector, by the SDK's client, which reads every answer to its end.
#[test]
fn every_answer_without_end_ends_at_a_limit_with_a_name() {
    let (world, port) = (World::new(), server());
    world.configure("[ceiling.limits]\nhttp-total = \"3s\"\nhttp-min-rate-after = \"500ms\"\n");
    orders::install(&world, &format!("http://127.0.0.1:{port}"), port);
    let mut stream = Stream::start(&world, 1);
    let mut ask = |id: &str| {
        let began = Instant::now();
        stream.call(0, "shop", "get-order", &json!({ "id": id }));
        (stream.answer(Duration::from_secs(20)), began.elapsed(), stream.pid())
    };
    // The twin, and what loads the plugin.
    let (answer, _, pid) = ask("o-1");
    assert_eq!(answer["ok"], true, "{answer}");
    let before = peak(pid);
    for (nth, (what, limit, _)) in TREATMENTS.iter().enumerate() {
        let (answer, took, _) = ask(&nth.to_string());
        assert_eq!(answer["ok"], false, "{what}: {answer}");
        assert!(answer["error"].to_string().contains(limit), "{what} does not name {limit}: {answer}");
        assert!(took < Duration::from_secs(5), "{what} took {took:?}");
        let (answer, ..) = ask("o-1");
        assert_eq!(answer["ok"], true, "after {what}: {answer}");
    }
    let grown = peak(pid) - before;
    assert!(grown < 48 << 10, "{grown} KiB more, where one answer may have 256");
    assert_eq!(stream.end().1, Some(0));
}

/// What the plugin sends is bounded before a byte of it leaves.
#[test]
fn a_request_that_is_too_much_is_not_sent() {
    let server = Upstream::start(|_| Reply::json(200, &json!({})));
    let world = World::new();
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    let url = format!("{}/x", server.url());
    let headers = |count: usize, value: &str| -> Value {
        let all: serde_json::Map<_, _> = (0..count).map(|nth| (format!("x-{nth}"), json!(value))).collect();
        json!({ "url": url, "method": "GET", "headers": all })
    };
    let body = |size: usize| json!({ "url": url, "method": "POST", "body": "x".repeat(size) });
    for (what, params, limit) in [
        ("too many headers", headers(65, "1"), "http-headers"),
        ("10,000 headers", headers(10_000, "1"), "http-headers"),
        ("headers too long", headers(60, &"x".repeat(400)), "http-header-bytes"),
        ("a body too long", body((64 << 10) + 1), "request-max"),
    ] {
        let file = world.file("params.json");
        fs::write(&file, params.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let ran = world.run(&["--as", "acme/ada", "action", "call", "evil", "fetch", "--params-file", file]);
        assert!([3, 6, 7].contains(&ran.code), "{what}: {ran:?}");
        assert!(ran.stdout.contains(limit), "{what} does not name {limit}: {ran:?}");
        assert_eq!(server.seen().len(), 0, "{what}: it was sent");
    }
    world.call("evil", "fetch", &headers(20, "1")).ok();
    world.call("evil", "fetch", &body(64 << 10)).ok();
    assert_eq!(server.seen().len(), 2, "the twin: what is within the limits arrives");
}

/// A second answer behind the first, which a client that keeps connections might take for that to its next request.
#[test]
fn an_answer_sent_ahead_is_nobodys() {
    let at = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let own = |target: &str| raw(200, &[], &json!({ "own": target }).to_string());
    let evil = || raw(200, &[], &json!({ "own": "evil" }).to_string());
    let server = Lasting::start(at, move |_, _, request| match request.target.as_str() {
        "/two-answers" => [own("/two-answers"), evil()].concat(),
        "/too-long" => [own("/too-long"), b"evil".to_vec()].concat(),
        target => own(target),
    });
    let world = World::new();
    world.open_loopback(server.port);
    let base = format!("http://127.0.0.1:{}", server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &base)], &[("signing-secret", SECRET)]);
    let mut stream = Stream::start(&world, 1);
    let targets = ["/one", "/two-answers", "/three", "/too-long", "/five", "/six"];
    for target in targets {
        let params = json!({ "url": format!("{base}{target}"), "method": "GET" });
        stream.call(0, "evil", "fetch", &params);
        let answer = stream.answer(Duration::from_secs(10));
        assert_eq!(answer["data"]["result"]["body"], json!({ "own": target }).to_string(), "{answer}");
    }
    let connections: Vec<_> = server.seen().iter().map(|(connection, _)| *connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2, 2], "and its connection is not used again");
    // The twin: a client that does not mind reads it as the answer to what it asks next.
    let mut plain = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap());
    let mut naive = |target: &str| {
        plain.get_mut().write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            plain.read_line(&mut line).unwrap();
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
        }
        let mut body = vec![0; length];
        plain.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    };
    naive("/two-answers");
    assert!(naive("/three").contains("evil"));
}
