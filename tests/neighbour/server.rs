//! The outside system of an attacker, which answers as the path says: in drips, without end, packed a thousandfold, with
//! a hundred thousand headers, with a secret, or with a way elsewhere.

use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::SECRET;

/// The server, and a port nobody may be led to.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Counts who connects where nobody may.
    forbidden: TcpListener,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let forbidden = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        forbidden.set_nonblocking(true).unwrap();
        let elsewhere = forbidden.local_addr().unwrap().port();
        let packed = Arc::<[u8]>::from(packed());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let packed = Arc::clone(&packed);
                // Whoever hangs up early is what these tests are about.
                std::thread::spawn(move || drop(serve(stream, elsewhere, &packed)));
            }
        });
        Self { port, forbidden }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port that nobody may be led to.
    pub(crate) fn forbidden(&self) -> u16 {
        self.forbidden.local_addr().unwrap().port()
    }

    /// Whether nobody connected there.
    pub(crate) fn is_untouched(&self) -> bool {
        self.forbidden.accept().is_err()
    }
}

fn serve(mut stream: TcpStream, elsewhere: u16, packed: &[u8]) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    match path.split('/').nth(1).unwrap_or_default() {
        "drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk)?;
            }
        }
        "packed" => {
            let head = format!("content-encoding: gzip\r\ncontent-length: {}\r\nconnection: close", packed.len());
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes())?;
            stream.write_all(packed)
        }
        "headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0..100_000 {
                stream.write_all(format!("x-{number}: y\r\n").as_bytes())?;
            }
            stream.write_all(b"content-length: 0\r\n\r\n")
        }
        "redirect" => {
            let to = format!("http://127.0.0.1:{elsewhere}/latest/meta-data");
            let head = format!("location: {to}\r\ncontent-length: 0\r\nconnection: close");
            stream.write_all(format!("HTTP/1.1 302 Found\r\n{head}\r\n\r\n").as_bytes())
        }
        "told" => plain(&mut stream, SECRET),
        "sleep" => {
            std::thread::sleep(Duration::from_mins(1));
            Ok(())
        }
        _ => plain(&mut stream, "{}"),
    }
}

fn plain(stream: &mut TcpStream, body: &str) -> Result<()> {
    let head = format!("content-length: {}\r\nconnection: close", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes())
}

/// 64 MiB of nothing, in a thousandth of that.
fn packed() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..(64 << 20) / 4096 {
        encoder.write_all(&[0; 4096]).unwrap();
    }
    encoder.finish().unwrap()
}
