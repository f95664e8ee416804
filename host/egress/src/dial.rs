//! Connections to checked addresses, and to nothing else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The pause before the next address is tried beside the ones still trying (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How many of the checked addresses are tried.
const MAX_TRIED: usize = 8;

/// Connects to one of `addresses`, IPv6 and IPv4 in turn, each a little after the one before. Without an own time limit:
/// the caller has one.
///
/// # Errors
/// The last error, when every address failed.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = interleaved(addresses).into_iter().take(MAX_TRIED);
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            trying.push(async move { TcpStream::connect(address).await.map(|stream| (stream, address)) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            biased;
            Some(result) = trying.next() => match result {
                Ok((stream, address)) => {
                    stream.set_nodelay(true)?;
                    return Ok((stream, address));
                }
                Err(error) => last = error,
            },
            () = sleep(STAGGER), if more => {}
            else => {}
        }
        if trying.is_empty() && !more {
            return Err(last);
        }
    }
}

/// The families in turn, beginning with IPv6 (RFC 8305 section 4), each in its own order.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().partition(|address| address.is_ipv6());
    let mut ordered = Vec::with_capacity(addresses.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses: Vec<SocketAddr> =
            ["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1", "[2::1]:1"].iter().map(|text| text.parse().unwrap()).collect();
        let expected: Vec<SocketAddr> =
            ["[2::1]:1", "1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(interleaved(&addresses), expected);
    }

    #[tokio::test]
    async fn a_closed_address_gives_way_to_an_open_one() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (_, address) = connect(&[closed, open.local_addr().unwrap()]).await.unwrap();
        assert_eq!(address, open.local_addr().unwrap());
        assert!(connect(&[closed]).await.is_err());
        assert!(connect(&[]).await.is_err());
    }
}
