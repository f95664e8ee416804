//! Requests on their way. The engine's crate runs each in a task of its own, which could outlive its call by a moment. So the
//! call keeps hold of them: once it is over nothing more of them is sent, and its record of them is whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use http::Response;
use wasmtime_wasi_http::{Error, WasiBody};

type Sent = Result<Response<WasiBody>, Error>;
type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;
type Flight = Arc<Mutex<Held>>;

/// One request.
struct Held {
    /// Empty when it is answered, or its call over.
    sending: Option<Sending>,
    /// Whoever waits for it.
    waits: Option<Waker>,
}

/// The requests of one call.
#[derive(Default)]
pub(super) struct Flights(Mutex<Vec<Flight>>);

impl Flights {
    /// The request as the engine's task polls it.
    pub(super) fn begin(&self, sending: Sending) -> impl Future<Output = Sent> + Send + 'static {
        let flight: Flight = Arc::new(Mutex::new(Held { sending: Some(sending), waits: None }));
        lock(&self.0).push(Arc::clone(&flight));
        poll_fn(move |cx| {
            let mut held = lock(&flight);
            let Some(sending) = &mut held.sending else { return Poll::Ready(Err(Error::ConnectionTerminated)) };
            let polled = sending.as_mut().poll(cx);
            if polled.is_ready() {
                held.sending = None;
            } else {
                held.waits = Some(cx.waker().clone());
            }
            polled
        })
    }

    /// Ends them all, whatever thread they are on; closes what they opened.
    pub(super) fn end(&self) {
        for flight in lock(&self.0).drain(..) {
            let mut held = lock(&flight);
            held.sending = None;
            // What it waited for is gone, and would not wake it any more.
            if let Some(waits) = held.waits.take() {
                waits.wake();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// A request that would be sent in a while is not, once its call is over, though its task still runs.
    #[tokio::test]
    async fn nothing_is_sent_after_the_end() {
        let sent = Arc::new(AtomicUsize::new(0));
        let flights = Flights::default();
        let begin = || {
            let sent = Arc::clone(&sent);
            tokio::spawn(flights.begin(Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sent.fetch_add(1, Ordering::SeqCst);
                Err(Error::HttpRequestDenied)
            })))
        };
        assert!(matches!(begin().await.unwrap(), Err(Error::HttpRequestDenied)));
        assert_eq!(sent.load(Ordering::SeqCst), 1, "one that goes on is sent");
        let late = begin();
        tokio::time::sleep(Duration::from_millis(5)).await;
        flights.end();
        assert!(matches!(late.await.unwrap(), Err(Error::ConnectionTerminated)));
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }
}
