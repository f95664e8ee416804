//! A web service for `wasi:http/proxy`, written as for any other host: it knows nothing of this one. What it is asked for
//! says which rule it tries.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

wasip2::http::proxy::export!(Service);

struct Service;

/// Status, headers and body of an answer.
type Answer = (u16, Vec<(&'static str, String)>, String);

impl Guest for Service {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let headers = request.headers().entries();
        let mut said = String::new();
        if let Ok(body) = request.consume() {
            let mut stream = body.stream().unwrap();
            stream.read_to_string(&mut said).unwrap();
        }
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (status, headers, body) = match segments.as_slice() {
            ["echo", name] => {
                let headers: Vec<String> = headers.into_iter().map(|(name, _)| name).collect();
                (200, vec![], json!({ "path": name, "query": query, "said": said, "headers": headers }).to_string())
            }
            ["fetch"] => fetch(&said),
            ["facts"] => (200, vec![], facts().to_string()),
            ["answer", status] => answer(status.parse().unwrap()),
            ["attack", how] => attack(how, out),
            _ => (404, vec![], json!({ "detail": "there is no such page" }).to_string()),
        };
        respond(out, status, headers, &body);
    }
}

fn respond(out: ResponseOutparam, status: u16, headers: Vec<(&str, String)>, body: &str) {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).unwrap();
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).unwrap();
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = outgoing.write().unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(outgoing, None).unwrap();
}

/// One request to wherever it is told, with the headers it is told.
fn fetch(said: &Value) -> Answer {
    let url = said["url"].as_str().unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fields = Fields::new();
    for (name, value) in said["headers"].as_object().into_iter().flatten() {
        if let Err(error) = fields.append(name, value.as_str().unwrap().as_bytes()) {
            return (200, vec![], json!({ "header": format!("{error:?}") }).to_string());
        }
    }
    let request = OutgoingRequest::new(fields);
    request.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http })).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    if let Some(body) = said["body"].as_str() {
        request.set_method(&Method::Post).unwrap();
        let outgoing = request.body().unwrap();
        outgoing.write().unwrap().write_all(body.as_bytes()).unwrap();
        OutgoingBody::finish(outgoing, None).unwrap();
    }
    let sent = match handle(request, None) {
        Ok(sent) => sent,
        Err(error) => return (200, vec![], json!({ "error": format!("{error:?}") }).to_string()),
    };
    sent.subscribe().block();
    let response = match sent.get().unwrap().unwrap() {
        Ok(response) => response,
        Err(error) => return (200, vec![], json!({ "error": format!("{error:?}") }).to_string()),
    };
    let mut text = String::new();
    let body = response.consume().unwrap();
    let read = body.stream().unwrap().read_to_string(&mut text).map(drop).map_err(|error| error.to_string());
    let answer = json!({ "status": response.status(), "text": text, "failed": read.err() });
    (200, vec![], answer.to_string())
}

/// What there is of a machine, as the standard library sees it.
fn facts() -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let files = ["/", ".", "/etc/passwd", "/proc/self/environ", "opsiq.toml"];
    let opened: Vec<&str> = files
        .into_iter()
        .filter(|path| std::fs::read_dir(path).is_ok() || std::fs::read(path).is_ok())
        .collect();
    json!({
        "now": u64::try_from(now.as_millis()).unwrap(),
        "random": format!("{:016x}", wasip2::random::random::get_random_u64()),
        "variables": std::env::vars().map(|(name, _)| name).collect::<Vec<_>>(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "opened": opened,
        "written": std::fs::write("/tmp/left", "x").is_ok(),
    })
}

fn answer(status: u16) -> Answer {
    let headers = if status == 429 { vec![("retry-after", "30".to_owned())] } else { vec![] };
    (status, headers, json!({ "detail": format!("told to answer {status}") }).to_string())
}

/// What no well-meaning service does.
fn attack(how: &str, out: ResponseOutparam) -> ! {
    match how {
        "spin" => loop {
            std::hint::black_box(how);
        },
        "sleep" => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
        "calls" => loop {
            std::hint::black_box(std::time::Instant::now());
        },
        "log" => loop {
            println!("\u{1b}[31m{}", "x".repeat(2000));
        },
        "memory" => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 1 << 20]);
            }
        }
        "random" => loop {
            wasip2::random::random::get_random_bytes(u64::MAX);
        },
        "resources" => {
            let mut held = Vec::new();
            loop {
                held.push(Fields::new());
            }
        }
        "large" => {
            respond(out, 200, vec![], &"x".repeat(8 << 20));
            std::process::exit(0)
        }
        "unfinished" => {
            let response = OutgoingResponse::new(Fields::new());
            let body = response.body().unwrap();
            ResponseOutparam::set(out, Ok(response));
            std::mem::forget(body);
            std::process::exit(0)
        }
        "exit" => std::process::exit(7),
        _ => panic!("told to"),
    }
}
