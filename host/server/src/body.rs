//! Bodies of requests, and the room for all of them together. Room is taken as bytes arrive, since what a client only
//! announces takes none; it is given back when the request is answered, since until then a handler holds the bytes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;

/// Units in which room is counted, in bytes.
const UNIT: usize = 1 << 10;

/// The room for bodies, and how long one may take to arrive.
#[derive(Debug)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    most: Duration,
}

/// A body that came in whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    /// The room it takes, given back with this.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for so many bytes, each body of which may take `most`.
    pub(crate) fn new(bytes: usize, most: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes / UNIT)), most }
    }

    /// The whole body, of at most `most` bytes.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body, most: usize) -> Result<Whole, Problem> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length == Some(0) || http_body::Body::is_end_stream(&body) {
            return Ok(Whole { bytes: Bytes::new(), room: None });
        }
        if most == 0 {
            return Err(Problem::malformed("request.body", "no body is taken here"));
        }
        if length.is_some_and(|length| length > most) {
            return Err(too_large(most));
        }
        timeout(self.most, self.taken(body, most)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn taken(&self, mut body: Body, most: usize) -> Result<Whole, Problem> {
        let (mut whole, mut room) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::malformed("request.body", "the body did not arrive whole"))?;
            // Trailers say nothing here.
            let Ok(piece) = frame.into_data() else { continue };
            if piece.len() > most - whole.len() {
                return Err(too_large(most));
            }
            self.widen(&mut room, whole.len() + piece.len())?;
            whole.extend_from_slice(&piece);
        }
        Ok(Whole { bytes: whole.freeze(), room })
    }

    /// Takes what is missing of the room for `bytes`.
    fn widen(&self, room: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Problem> {
        let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more = self.room.clone().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
        let more = more.map_err(|_| {
            Problem::unavailable("server.bodies", "the host holds as many bodies as it has room for", 1)
        })?;
        match room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
        Ok(())
    }
}

fn too_large(most: usize) -> Problem {
    let detail = format!("a body has {most} bytes at most here");
    Problem::request(StatusCode::PAYLOAD_TOO_LARGE, "request.too-large", detail, "send less")
}

fn late() -> Problem {
    let (detail, fix) = ("the body did not arrive in time", "send it faster");
    let problem = Problem::request(StatusCode::REQUEST_TIMEOUT, "request.timeout", detail, fix);
    problem.header(CONNECTION, HeaderValue::from_static("close"))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::mpsc;

    use super::*;

    /// A body whose pieces are sent one by one.
    fn slow() -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, pieces) = mpsc::unbounded_channel();
        let pieces = stream::unfold(pieces, async |mut pieces: mpsc::UnboundedReceiver<Bytes>| {
            pieces.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
        });
        (sender, Body::from_stream(pieces))
    }

    fn announced(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(length))])
    }

    #[tokio::test]
    async fn room_is_taken_as_bytes_arrive_and_held_until_it_is_let_go() {
        let bodies = Arc::new(Bodies::new(4 * UNIT, Duration::from_secs(5)));
        let (sender, body) = slow();
        let reading = tokio::spawn({
            let bodies = bodies.clone();
            async move { bodies.read(&announced(4 * UNIT), body, 1 << 20).await }
        });
        sender.send(Bytes::from(vec![0; UNIT])).unwrap();
        while bodies.room.available_permits() == 4 {
            tokio::task::yield_now().await;
        }
        // What was announced and has not come takes nothing.
        assert_eq!(bodies.room.available_permits(), 3);
        let other = bodies.read(&announced(3 * UNIT), Body::from(vec![0; 3 * UNIT]), 1 << 20).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
        sender.send(Bytes::from(vec![0; UNIT])).unwrap();
        let full = reading.await.unwrap().unwrap_err();
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(bodies.room.available_permits(), 1, "what was refused holds nothing");
        assert_eq!(other.bytes.len(), 3 * UNIT);
        drop(other);
        assert_eq!(bodies.room.available_permits(), 4);
    }

    #[tokio::test]
    async fn more_than_is_taken_and_later_than_is_waited_for_are_refused() {
        let bodies = Bodies::new(1 << 20, Duration::from_millis(50));
        let status = |read: Result<Whole, Problem>| read.unwrap_err().status().as_u16();
        let (sender, body) = slow();
        sender.send(Bytes::from(vec![0; 11])).unwrap();
        assert_eq!(status(bodies.read(&HeaderMap::new(), body, 10).await), 413);
        assert_eq!(status(bodies.read(&announced(11), slow().1, 10).await), 413);
        assert_eq!(status(bodies.read(&announced(1), slow().1, 0).await), 400);
        let (sender, body) = slow();
        assert_eq!(status(bodies.read(&announced(1), body, 10).await), 408);
        drop(sender);
        assert!(bodies.read(&announced(0), Body::empty(), 0).await.unwrap().bytes.is_empty());
    }
}
