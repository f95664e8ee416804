//! Servers a plugin talks to: one that answers as told and remembers, and one that only counts who connects.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// How to answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) after: Duration,
    /// Bytes announced beyond those that come.
    pub(crate) missing: usize,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string(),
            after: Duration::ZERO,
            missing: 0,
        }
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the connection before the end of what was announced.
    pub(crate) fn missing(mut self, bytes: usize) -> Self {
        self.missing = bytes;
        self
    }
}

/// An HTTP/1.1 server on a loopback port, one connection a request.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Upstream {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                thread::spawn(move || {
                    let _ = serve(stream, &*answer, &log);
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request so far, in the order they were complete.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// The next request of a connection; nothing when it ends before that is whole.
fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, target, headers, body }))
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Reply, log: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    // Who connects and dies before its request is whole has asked nothing.
    let Some(request) = read(&mut reader)? else { return Ok(()) };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    thread::sleep(reply.after);
    let length = reply.body.len() + reply.missing;
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes())?;
    stream.flush()
}

/// A server that says exactly the bytes it is told to, and keeps connections until the other side ends them.
pub(crate) struct Lasting {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// On which connection, numbered from 0, and what.
    requests: Vec<(usize, Request)>,
    made: usize,
    open: usize,
}

impl Lasting {
    /// `answer` hears which connection it is on, which request of it, both from 0, and the request; an empty answer ends the
    /// connection.
    pub(crate) fn start(
        at: IpAddr,
        answer: impl Fn(usize, usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                let connection = {
                    let mut seen = log.lock().unwrap();
                    seen.made += 1;
                    seen.open += 1;
                    seen.made - 1
                };
                thread::spawn(move || {
                    let _ = Self::serve(&stream, connection, &*answer, &log);
                    log.lock().unwrap().open -= 1;
                });
            }
        });
        Self { port, seen }
    }

    fn serve(
        stream: &TcpStream,
        connection: usize,
        answer: &dyn Fn(usize, usize, &Request) -> Vec<u8>,
        log: &Mutex<Seen>,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut nth = 0;
        while let Some(request) = read(&mut reader)? {
            log.lock().unwrap().requests.push((connection, request.clone()));
            let bytes = answer(connection, nth, &request);
            if bytes.is_empty() {
                return Ok(());
            }
            (&mut &*stream).write_all(&bytes)?;
            nth += 1;
        }
        Ok(())
    }

    /// Every request so far with the number of its connection.
    pub(crate) fn seen(&self) -> Vec<(usize, Request)> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Connections so far.
    pub(crate) fn made(&self) -> usize {
        self.seen.lock().unwrap().made
    }

    /// Waits until so many connections are open, and says whether they are.
    pub(crate) fn has_open(&self, count: usize, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.seen.lock().unwrap().open != count {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// An answer as it is written, with these lines in its head.
pub(crate) fn raw(status: u16, lines: &[&str], body: &str) -> Vec<u8> {
    let lines: String = lines.iter().flat_map(|line| [*line, "\r\n"]).collect();
    format!("HTTP/1.1 {status} x\r\n{lines}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
