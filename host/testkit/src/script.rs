//! The outside of a case: it answers as recorded, in the recorded order, and notes what was asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opsiq_contract::Contract;
use opsiq_egress::{Asked, Reply, Upstream};
use opsiq_gate::stand_in;

use crate::case::{Exchange, Request};
use crate::fault::Fault;

/// How often a request that met a fault is answered with it again before the run ends.
const PATIENCE: usize = 8;

/// Answers as recorded.
pub struct Script {
    exchanges: Vec<Exchange>,
    /// What goes wrong, and at which request.
    fault: Option<(usize, Fault)>,
    matching: Matching,
    state: Mutex<State>,
}

/// What says that the next answer is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Matching {
    /// Method and URL.
    Exact,
    /// The method: the URL follows a config that is another than the case's.
    Method,
    /// The order alone, as while a case is being recorded.
    Order,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    next: usize,
    repeats: usize,
    unexpected: bool,
}

impl Script {
    /// Answers these exchanges.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        Self { exchanges, fault: None, matching: Matching::Exact, state: Mutex::default() }
    }

    /// The same, with something going wrong at one request.
    pub(crate) fn with_fault(exchanges: Vec<Exchange>, at: usize, fault: Fault) -> Self {
        Self { fault: Some((at, fault)), ..Self::new(exchanges) }
    }

    /// Answers the first request with the first answer, and so on, whatever is asked.
    pub(crate) fn by_order(exchanges: Vec<Exchange>) -> Self {
        Self { matching: Matching::Order, ..Self::new(exchanges) }
    }

    /// Answers in order, each request of the recorded method, wherever it goes.
    pub fn by_method(exchanges: Vec<Exchange>) -> Self {
        Self { matching: Matching::Method, ..Self::new(exchanges) }
    }

    /// What was asked so far. The last one ended the run if [`unexpected`](Self::unexpected).
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Whether the last request was none that is expected.
    pub fn unexpected(&self) -> bool {
        self.state().unexpected
    }

    /// The request that is expected next, if any.
    pub fn expected(&self) -> Option<&Request> {
        self.exchanges.get(self.state().next).map(|exchange| &exchange.request)
    }

    /// How many of the exchanges took place.
    pub(crate) fn done(&self) -> usize {
        self.state().next
    }

    /// How often the request that met the fault was sent again.
    pub(crate) fn repeats(&self) -> usize {
        self.state().repeats
    }

    fn reply(&self, state: &mut State, asked: &Asked) -> Reply {
        let same = |request: &Request| match self.matching {
            Matching::Exact => request.method == asked.method && request.url == asked.url,
            Matching::Method => request.method == asked.method,
            Matching::Order => true,
        };
        if let Some((at, fault)) = self.fault
            && state.next > at
            && let Some(before) = state.asked.get(at)
            && (&before.method, &before.url, &before.body) == (&asked.method, &asked.url, &asked.body)
        {
            state.repeats += 1;
            return if state.repeats > PATIENCE { Reply::End } else { fault.reply(&self.exchanges[at].answer) };
        }
        let at = state.next;
        match self.exchanges.get(at) {
            Some(exchange) if same(&exchange.request) => {
                state.next += 1;
                match self.fault {
                    Some((here, fault)) if here == at => fault.reply(&exchange.answer),
                    _ => Reply::Whole(exchange.answer.clone()),
                }
            }
            _ => {
                state.unexpected = true;
                Reply::End
            }
        }
    }

    /// Nothing that could panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Upstream for Script {
    async fn answer(&self, request: Asked) -> Reply {
        let mut state = self.state();
        let reply = self.reply(&mut state, &request);
        state.asked.push(request);
        reply
    }
}

/// A header's value as a case shows it: `{name}` where the stand-in of the key `name` is.
pub fn masked(value: &str, contract: &Contract) -> String {
    contract
        .keys
        .iter()
        .fold(value.to_owned(), |value, key| value.replace(&stand_in(&key.name), &format!("{{{}}}", key.name)))
}

#[cfg(test)]
mod tests {
    use opsiq_egress::Answered;

    use super::*;

    fn exchange(method: &str, url: &str) -> Exchange {
        let request = Request { method: method.to_owned(), url: url.parse().unwrap(), headers: [].into(), body: None };
        Exchange { request, answer: Answered { status: 200, headers: Vec::new(), body: b"fine".to_vec() } }
    }

    async fn ask(script: &Script, method: &str, url: &str) -> Reply {
        let address = "8.8.8.8:443".parse().unwrap();
        let (method, url) = (method.to_owned(), url.parse().unwrap());
        script.answer(Asked { method, url, address, headers: Vec::new(), body: Vec::new() }).await
    }

    fn status(reply: &Reply) -> Option<u16> {
        match reply {
            Reply::Whole(answer) => Some(answer.status),
            _ => None,
        }
    }

    const A: &str = "https://a.example/a";
    const B: &str = "https://a.example/b";

    #[tokio::test]
    async fn what_is_asked_out_of_order_ends_the_run() {
        let script = Script::new(vec![exchange("GET", A), exchange("POST", B)]);
        assert_eq!(status(&ask(&script, "GET", A).await), Some(200));
        assert_eq!(ask(&script, "GET", B).await, Reply::End);
        assert!(script.unexpected() && script.done() == 1 && script.asked().len() == 2);
        let script = Script::by_method(vec![exchange("GET", A)]);
        assert_eq!(status(&ask(&script, "GET", B).await), Some(200));
        assert_eq!(ask(&script, "GET", A).await, Reply::End);
    }

    #[tokio::test]
    async fn a_fault_stays_and_repeats_of_it_are_counted() {
        let script = Script::with_fault(vec![exchange("GET", A), exchange("POST", B)], 1, Fault::ServerError);
        assert_eq!(status(&ask(&script, "GET", A).await), Some(200));
        assert_eq!(status(&ask(&script, "POST", B).await), Some(500));
        assert_eq!(script.repeats(), 0);
        assert_eq!(status(&ask(&script, "POST", B).await), Some(500));
        assert_eq!((script.repeats(), script.unexpected()), (1, false));
        for _ in 0..PATIENCE {
            ask(&script, "POST", B).await;
        }
        assert_eq!(ask(&script, "POST", B).await, Reply::End);
        assert_eq!(ask(&script, "GET", A).await, Reply::End);
        assert!(script.unexpected());
    }
}
