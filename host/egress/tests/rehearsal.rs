//! Rehearsals: everything before the wire decides as in earnest, and what goes wrong on it means the same.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsiq_egress::{Answered, Asked, Egress, EgressGrant, HttpFailure, Reply, Session, Upstream, Verdict};
use opsiq_vault::{LeakWatch, Secret};
use support::{failed, get, header, limits, post, rule, text};

/// Says the same to everything, and remembers what was asked.
struct Same(Reply, Mutex<Vec<Asked>>);

#[async_trait]
impl Upstream for Same {
    async fn answer(&self, request: Asked) -> Reply {
        self.1.lock().unwrap().push(request);
        self.0.clone()
    }
}

struct NoKeys;

impl opsiq_egress::Injector for NoKeys {
    fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

fn session(url: &str, reply: Reply) -> (Session, Arc<Same>, Arc<Egress>) {
    let upstream = Arc::new(Same(reply, Mutex::default()));
    let egress = Arc::new(Egress::rehearsal(upstream.clone()));
    let rules = vec![rule("read", &["GET", "HEAD"], url), rule("write", &["POST"], url)];
    let grant = EgressGrant { rules, denied_rules: Vec::new(), private_targets: Vec::new(), limits: limits() };
    let leaks = Arc::new(LeakWatch::new(Arc::default(), "00000000-0000-0000-0000-000000000000".parse().unwrap()));
    (Session::new(grant, egress.clone(), Arc::new(NoKeys), leaks), upstream, egress)
}

fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Answered {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answered { status, headers, body: body.as_bytes().to_vec() }
}

const URL: &str = "https://a.example/x";

#[tokio::test]
async fn an_answer_comes_back_as_from_outside_and_the_request_arrives_whole() {
    let answer = whole(200, &[("X-More", "1"), ("content-length", "9999"), ("set-cookie", "a")], "hello");
    let (session, upstream, _) = session(URL, Reply::Whole(answer));
    let mut response = session.send(post(URL, b"body")).await.unwrap();
    assert_eq!((response.status, header(&response, "x-more")), (200, Some("1")));
    assert_eq!(text(&mut response).await, "hello");
    let asked = upstream.1.lock().unwrap().remove(0);
    assert_eq!((asked.method.as_str(), asked.url.as_str(), asked.body.as_slice()), ("POST", URL, b"body".as_slice()));
    assert!(asked.headers.contains(&("host".into(), "a.example".into())), "{asked:?}");
    let record = session.records().remove(0);
    assert_eq!((record.status, record.tls, record.verdict), (Some(200), Some("TLS 1.3"), Verdict::Answered));
    assert!(record.sent_bytes > 0 && record.received_bytes > 0 && record.request_sent);
}

#[tokio::test]
async fn what_goes_wrong_means_what_it_means_outside_and_takes_no_time() {
    let began = Instant::now();
    let (one, ..) = session(URL, Reply::Silence);
    assert_eq!(failed(one.send(post(URL, b"body")).await), HttpFailure::TimedOut { sent: true });

    let (one, ..) = session(URL, Reply::Cut(whole(200, &[], "hello"), 2));
    let mut response = one.send(get(URL)).await.unwrap();
    assert_eq!(response.body.read(9).await.unwrap(), b"he");
    assert_eq!(response.body.read(9).await.unwrap_err(), HttpFailure::Broken);

    let (one, _, egress) = session(URL, Reply::End);
    assert!(!egress.ended());
    assert_eq!(failed(one.send(get(URL)).await), HttpFailure::Broken);
    assert!(egress.ended());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Addresses are judged as in earnest; the twin is reached.
#[tokio::test]
async fn a_private_address_is_not_reached_in_a_rehearsal_either() {
    for url in ["https://169.254.169.254/x", "https://127.0.0.1/x", "http://a.example/x"] {
        let (session, upstream, _) = session(url, Reply::Whole(whole(200, &[], "")));
        assert_eq!(failed(session.send(get(url)).await), HttpFailure::Unreachable, "{url}");
        assert!(upstream.1.lock().unwrap().is_empty(), "{url}");
    }
    let (session, upstream, _) = session(URL, Reply::Whole(whole(200, &[], "")));
    session.send(get(URL)).await.unwrap();
    assert_eq!(upstream.1.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_metadata_is_not_followed() {
    let to = ("location", "https://169.254.169.254/latest/meta-data/");
    let (session, upstream, _) = session("https://a.example/{rest*}", Reply::Whole(whole(302, &[to], "")));
    let response = session.send(get(URL)).await.unwrap();
    assert_eq!((response.status, upstream.1.lock().unwrap().len()), (302, 1));
}
