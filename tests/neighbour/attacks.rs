//! What a plugin or a caller can do to a host, row by row of the scorecard, and how it must end.

use serde_json::{Value, json};

use super::{Server, Site};

/// One attack.
pub(crate) struct Attack {
    /// The scorecard's number.
    pub(crate) row: u8,
    pub(crate) name: &'static str,
    /// How many do it at once.
    pub(crate) callers: usize,
    pub(crate) by: By,
    /// What the codes it ends in begin with; `ok` is an answer.
    pub(crate) ends: &'static [&'static str],
}

/// How it is done, again and again.
pub(crate) enum By {
    /// An installation, an action, and the parameters of the nth call.
    Calls(&'static str, &'static str, fn(&Site, usize) -> Value),
    /// Requests, each by an installation of its own, to addresses where nobody may go: [`forbidden`].
    Inside,
    /// Calls that wait for a server, and callers that leave.
    Leaving,
    /// Commands of the operator, while calls compute.
    Orders(&'static [&'static [&'static str]]),
    /// Components to be registered, by the names [`super::bombs`] has for them.
    Components(&'static [&'static str]),
}

/// Callers that attack at once: with each of them in a call, the tenant has used up its concurrency.
pub(crate) const CALLERS: usize = 16;
/// What a tenant's calls may have at once, as the site is configured.
pub(crate) const CONCURRENCY: usize = 16;

fn nothing(_: &Site, _: usize) -> Value {
    json!({})
}

/// The hostile plugin's actions.
const fn acts(row: u8, action: &'static str, ends: &'static [&'static str]) -> Attack {
    Attack { row, name: action, callers: CALLERS, by: By::Calls("evil", action, nothing), ends }
}

/// Attacks in text, each a plugin of its own.
const fn written(row: u8, name: &'static str, ends: &'static [&'static str]) -> Attack {
    Attack { row, name, callers: CALLERS, by: By::Calls(name, "attack", nothing), ends }
}

const fn calls(
    row: u8,
    name: &'static str,
    action: &'static str,
    params: fn(&Site, usize) -> Value,
    ends: &'static [&'static str],
) -> Attack {
    Attack { row, name, callers: CALLERS, by: By::Calls("evil", action, params), ends }
}

const fn orders(name: &'static str, orders: &'static [&'static [&'static str]]) -> Attack {
    let ends = &["stopped", "sandbox.quarantined", "cpu_exceeded", "wall_exceeded"];
    Attack { row: 55, name, callers: CALLERS, by: By::Orders(orders), ends }
}

const fn components(row: u8, name: &'static str, of: &'static [&'static str], ends: &'static [&'static str]) -> Attack {
    Attack { row, name, callers: 1, by: By::Components(of), ends }
}

/// A request to a path of the attacker's own server.
fn get(site: &Site, path: &str) -> Value {
    json!({ "method": "GET", "url": format!("{}/{path}", site.server.url()) })
}

/// What a call that computes for ever may end in: on its share of a machine it may not even come to use its processor time.
const CPU: &[&str] = &["cpu_exceeded", "wall_exceeded"];
/// What a request to a server that misbehaves may end in.
const CUT: &[&str] = &["wall_exceeded", "plugin.upstream"];

/// Where no plugin goes, in forms that parsers disagree about, at the port that counts who comes; and where nobody can be
/// trusted, since whoever listens there speaks no TLS.
pub(crate) fn forbidden(server: &Server) -> Vec<String> {
    let port = server.forbidden();
    let hosts = [
        "127.1",
        "2130706433",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
    ];
    let mut all: Vec<_> = hosts.iter().map(|host| format!("http://{host}:{port}")).collect();
    all.push(format!("https://127.0.0.1:{}", server.port));
    all
}

fn other_scheme(_: &Site, n: usize) -> Value {
    let url = ["file:///etc/passwd", "unix:/run/x.sock", "gopher://127.0.0.1/", "ftp://127.0.0.1/"][n % 4];
    json!({ "method": "GET", "url": url })
}

/// Headers that frame, route or smuggle.
fn forged(site: &Site, n: usize) -> Value {
    let (name, value) = [
        ("host", "example.com"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("content-length", "3"),
        ("x", "a\r\ny: b"),
    ][n % 5];
    json!({ "method": "GET", "url": format!("{}/x", site.server.url()), "headers": { name: value } })
}

fn passed_on(_: &Site, n: usize) -> Value {
    let to = ["result", "kv-value", "path", "query", "header", "body"][n % 6];
    json!({ "what": "own", "to": to })
}

fn foreign_key(_: &Site, n: usize) -> Value {
    let name =
        ["api-key", "../calm/signing-secret", "calm/evil/signing-secret", "SIGNING-SECRET", "signing‐secret"][n % 5];
    json!({ "name": name })
}

/// As large as entries become: parameters, log line, event and answer.
fn large(_: &Site, _: usize) -> Value {
    json!({ "text": "x".repeat(15_000) })
}

fn stored(_: &Site, n: usize) -> Value {
    json!({ "op": "set", "key": format!("k{}", n % 8), "fill": 30_000 })
}

/// Every attack by calls, which the built command takes.
pub(crate) const BY_CALLS: &[Attack] = &[
    acts(1, "spin", CPU),
    acts(1, "spin-in-realloc", CPU),
    written(1, "loop-in-start", CPU),
    written(1, "loop-in-realloc", CPU),
    written(1, "loop-in-post-return", CPU),
    written(1, "loop-of-bulk-fills", CPU),
    acts(2, "memory-bomb", &["memory_exceeded", "wall_exceeded"]),
    written(2, "memory-grow", &["memory_exceeded"]),
    written(2, "many-memories", &["memory_exceeded"]),
    written(3, "table-grow", &["table_exceeded"]),
    acts(3, "many-resources", &["resources_exceeded"]),
    acts(4, "recursion", &["stack_exceeded", "wall_exceeded"]),
    acts(4, "deep-json", &["result.off-contract"]),
    acts(5, "giant-result", &["result_too_large"]),
    written(5, "answer-outside-memory", &["trap:", "invalid_result"]),
    written(5, "answer-no-utf8", &["invalid_result"]),
    written(5, "answer-misaligned-utf16", &["trap:", "invalid_result"]),
    written(5, "unknown-case", &["trap:", "invalid_result"]),
    acts(6, "log-flood", &["ok"]),
    calls(6, "entries as large as they get", "about-read", large, &["ok"]),
    written(6, "log-of-gigabytes", &["hostcall_bytes"]),
    acts(7, "host-call-flood", &["hostcall_count", "wall_exceeded"]),
    acts(7, "random-flood", &["random_exceeded"]),
    acts(7, "sleep-in-host-call", &["wall_exceeded"]),
    calls(7, "storage written without pause", "kv", stored, &["ok"]),
    Attack { row: 8, name: "callers that leave", callers: 4, by: By::Leaving, ends: &["stream.cancelled"] },
    Attack { row: 41, name: "forbidden addresses", callers: CALLERS, by: By::Inside, ends: &["plugin.upstream"] },
    calls(41, "other schemes", "fetch", other_scheme, &["http.no-rule", "plugin.internal"]),
    calls(42, "redirects to forbidden addresses", "fetch", |site, _| get(site, "redirect"), &["ok"]),
    calls(43, "answers that drip", "fetch", |site, _| get(site, "drip"), CUT),
    calls(43, "answers without end", "fetch", |site, _| get(site, "endless"), &["ok"]),
    calls(43, "answers packed a thousandfold", "fetch", |site, _| get(site, "packed"), &["ok"]),
    calls(43, "a hundred thousand headers", "fetch", |site, _| get(site, "headers"), CUT),
    calls(43, "headers that frame and smuggle", "fetch", forged, &["http.header-not-allowed", "plugin.internal"]),
    calls(44, "a secret passed on", "pass-on", passed_on, &["http.secret", "result.secret", "kv.secret"]),
    written(53, "reenter", &["trap:component"]),
    orders("stopped again and again", &[&["sandbox", "stop", "tenant:acme"]]),
    orders(
        "quarantined and released",
        &[
            &["sandbox", "quarantine", "installation:acme/evil", "--reason", "drill"],
            &["sandbox", "release", "installation:acme/evil"],
        ],
    ),
    acts(68, "write-as-read", &["contract.rule-not-listed"]),
    calls(70, "keys of others", "open-key", foreign_key, &["key.not-granted"]),
    written(70, "forged-handle", &["trap:component"]),
    calls(73, "a flood of requests", "http-flood", nothing, &["ok"]),
    calls(30, "a flood of unknown actions", "no-such-action", nothing, &["action.unknown"]),
    calls(30, "a flood of wrong parameters", "echo", |_, n| json!({ "text": n }), &["params.invalid"]),
    Attack {
        row: 46,
        name: "a flood beyond its limits",
        callers: 3 * CONCURRENCY,
        by: By::Calls("crowded", "echo", |_, _| json!({ "text": "hello" })),
        ends: &["limit.installation.queue", "ok"],
    },
];

/// Every attack by components to be registered.
pub(crate) const BY_COMPONENTS: &[Attack] = &[
    components(2, "4 GiB declared", &["memory-declared"], &["plugin.not-loaded"]),
    components(9, "a million functions", &["functions"], &["component.inadmissible"]),
    components(9, "a giant branch table", &["branch-table"], &["component.inadmissible"]),
    components(9, "code that takes all memory", &["tangle"], &["compile."]),
    components(9, "code that takes too long", &["plain"], &["compile."]),
    components(10, "an import that is not declared", &["undeclared"], &["component.inadmissible"]),
];
