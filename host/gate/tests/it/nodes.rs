//! Two hosts on the databases of one server: what one does holds on the other within a second.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use opsiq_contract::{CustomRole, Role};
use opsiq_gate::{Actor, Databases, Host, HostOptions, NewTenant, Refusal, RootSource, Selection};
use opsiq_gate::{Answer, Call, Login};
use opsiq_shield::{ClientIp, Verdict};
use tempfile::TempDir;

use crate::people::{knock, secret as password};
use crate::signed::{Sender, arrive};
use crate::world::{PLUGIN, acme, call, data, keyed, options, request, secret, tenant};

#[path = "../../../store/src/fixture/server.rs"]
pub(crate) mod server;

use server::Server;

/// What a change may take to hold everywhere.
const PROMISED: Duration = Duration::from_secs(1);

pub(crate) struct Nodes {
    pub(crate) first: Host,
    pub(crate) second: Host,
    pub(crate) dirs: [TempDir; 2],
    pub(crate) server: Server,
}

impl Nodes {
    pub(crate) async fn close(self) {
        self.first.close().await.unwrap();
        self.second.close().await.unwrap();
    }
}

/// As `World`, and a second host beside it.
pub(crate) async fn two() -> Option<Nodes> {
    two_with("").await
}

/// The same, with more in the `opsiq.toml` of both.
pub(crate) async fn two_with(config: &str) -> Option<Nodes> {
    let server = Server::new().await?;
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Some(Databases { url: server.data(), keys: server.keys(), password_file: None });
    let first = HostOptions { store: store.clone(), ..options(&first_dir) };
    Box::pin(Host::init(first.clone())).await.unwrap();
    let configure = |dir: &TempDir| {
        let file = data(dir).join("opsiq.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{text}\n{config}")).unwrap();
    };
    configure(&first_dir);
    // From here on `opsiq.toml` says where the databases are.
    let first = Box::pin(Host::open(HostOptions { store: None, ..first })).await.unwrap();
    let root = RootSource::File(data(&first_dir).join("root.key"));
    let second = HostOptions { store, root, ..options(&second_dir) };
    Box::pin(Host::init(second.clone())).await.unwrap();
    configure(&second_dir);
    let second = Box::pin(Host::open(second)).await.unwrap();

    let operator = Actor::operator();
    first.catalogue().register(&operator, PLUGIN.clone()).await.unwrap();
    let new = NewTenant { id: tenant("acme"), title: "ACME".to_owned(), owner: "olga".to_owned() };
    first.tenants().create(&operator, new).await.unwrap();
    first.users().add(&acme("olga"), "adam", Role::Admin).await.unwrap();
    first.users().add(&acme("olga"), "sam", Role::Support).await.unwrap();
    first.installations().install(&acme("adam"), &request("echo")).await.unwrap();
    first.keys().set(&acme("adam"), "echo", "api-key", secret()).await.unwrap();
    Some(Nodes { first, second, dirs: [first_dir, second_dir], server })
}

/// Calls until the answer is as wanted; how long that took.
async fn until(host: &Host, user: &str, call: Call, wanted: impl Fn(&Result<Answer, Refusal>) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let answer = host.invoke(&acme(user), call.clone()).await;
        if wanted(&answer) {
            return start.elapsed();
        }
        assert!(start.elapsed() < 10 * PROMISED, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_does_holds_on_the_other() {
    let Some(Nodes { first, second, dirs: _dirs, server: _server }) = two().await else { return };
    let look = || call("look", r#"{"id":"7"}"#);
    // The tenant, its users, plugin and key came after the second node was opened.
    until(&second, "sam", look(), Result::is_ok).await;
    first.invoke(&acme("sam"), look()).await.unwrap();

    second.users().disable(&acme("olga"), "sam").await.unwrap();
    let took = until(&first, "sam", look(), Result::is_err).await;
    assert!(took <= PROMISED, "a user who is out was served for {took:?}");
    first.users().enable(&acme("olga"), "sam").await.unwrap();
    until(&second, "sam", look(), Result::is_ok).await;

    let all = Selection::Publisher("opsiq".to_owned());
    first.control().quarantine(&Actor::operator(), &all, "a test").await.unwrap();
    let stopped =
        |answer: &Result<Answer, Refusal>| answer.as_ref().is_err_and(|refusal| refusal.code == "sandbox.quarantined");
    let took = until(&second, "sam", look(), stopped).await;
    assert!(took <= PROMISED, "what is quarantined ran for {took:?}");
    second.control().release(&Actor::operator(), &all).await.unwrap();
    until(&first, "sam", look(), Result::is_ok).await;

    // One key, two nodes: the second answers what the first did.
    let change = || keyed("change", r#"{"id":"7"}"#, "k-1");
    let Answer::Done(ran) = first.invoke(&acme("olga"), change()).await.unwrap() else { panic!("it waits") };
    let Answer::Done(same) = second.invoke(&acme("olga"), change()).await.unwrap() else { panic!("it waits") };
    assert_eq!(ran.invocation, same.invocation);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// Many copies of each of many requests, at both nodes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_request_is_taken_once_among_nodes() {
    let Some(Nodes { first, second, dirs: _dirs, server: _server }) = two().await else { return };
    let scopes = ["things:write".to_owned()].into();
    let new = first.clients().create(&acme("olga"), "till", Role::Support, &scopes).await.unwrap();
    let till = Sender::of(new);
    until(&second, "sam", call("look", r#"{"id":"7"}"#), Result::is_ok).await;
    let mut copies = tokio::task::JoinSet::new();
    for at in 0..20 {
        let sent = till.now(&at.to_string());
        for host in [&first, &second, &first, &second] {
            let (host, sent) = (host.clone(), sent.clone());
            copies.spawn(async move { (at, arrive(&host, &sent).await.map(drop)) });
        }
    }
    let ended = copies.join_all().await;
    for at in 0..20 {
        let of = ended.iter().filter(|(which, _)| *which == at);
        assert_eq!(of.filter(|(_, taken)| taken.is_ok()).count(), 1, "request {at}: {ended:?}");
    }
    assert!(ended.iter().filter_map(|(_, taken)| taken.as_ref().err()).all(|no| no.code == "signature.replayed"));
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// What two nodes decide at once on what both read, one of them does not do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_do_not_decide_on_the_same_people() {
    let Some(Nodes { first, second, dirs: _dirs, server: _server }) = two().await else { return };
    first.users().add(&acme("olga"), "otto", Role::Owner).await.unwrap();
    let clerk = || CustomRole {
        name: "clerk".to_owned(),
        base: Role::Admin,
        actions: BTreeSet::new(),
        scopes: BTreeSet::new(),
        acts: ["user list".to_owned()].into(),
        confirm_writes: false,
    };
    until(&second, "otto", call("look", r#"{"id":"7"}"#), Result::is_ok).await;
    let mut lost = 0;
    for _ in 0..10 {
        let (a, b) = (first.users(), second.users());
        let (olga, otto) = (acme("olga"), acme("otto"));
        let (without_otto, without_olga) = tokio::join!(a.disable(&olga, "otto"), b.disable(&otto, "olga"));
        let left: Vec<_> = [("olga", &without_olga), ("otto", &without_otto)]
            .into_iter()
            .filter(|(_, gone)| gone.is_err())
            .map(|(name, _)| name)
            .collect();
        assert!(!left.is_empty(), "the last two owners removed each other");
        lost += left.len() - 1;
        let (left, gone) = if left[0] == "olga" { ("olga", "otto") } else { ("otto", "olga") };
        let enabled = async || first.users().enable(&acme(left), gone).await;
        enabled().await.unwrap();

        // A role that is given away while it is taken away.
        first.roles().create(&acme("olga"), clerk(), true).await.unwrap();
        let (roles, users, olga) = (first.roles(), second.users(), acme("olga"));
        let (removed, assigned) = tokio::join!(roles.remove(&olga, "clerk"), users.assign(&olga, "sam", "clerk"));
        assert!(removed.is_err() || assigned.is_err(), "somebody has a role that is not there");
        first.users().list(&acme("olga")).await.unwrap();
        first.users().assign(&acme("olga"), "sam", "support").await.unwrap();
    }
    assert!(lost < 10, "one of two does, not neither");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_failed_attempts_are_every_nodes() {
    let Some(Nodes { first, second, dirs: _dirs, server: _server }) = two().await else { return };
    let (operator, networks) = (Actor::operator(), ["203.0.113.0/24".to_owned()]);
    let client: ClientIp = "203.0.113.7".parse().unwrap();
    first.firewall().put(&operator, Verdict::Block, &networks, "a test", false).await.unwrap();
    assert!(first.shield().lets_come(client).is_err(), "it is in force when it is answered");
    let lets_come = async |host: &Host, wanted: bool| {
        let start = Instant::now();
        while host.shield().lets_come(client).is_ok() != wanted {
            assert!(start.elapsed() < 10 * PROMISED);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    };
    let took = lets_come(&second, false).await;
    assert!(took <= PROMISED, "who is blocked came for {took:?}");
    // The other node goes on from there.
    second.firewall().remove(&operator, &networks, false).await.unwrap();
    let took = lets_come(&first, true).await;
    assert!(took <= PROMISED, "{took:?}");

    let look = || call("look", r#"{"id":"7"}"#);
    until(&second, "sam", look(), Result::is_ok).await;
    first.firewall().put(&acme("olga"), Verdict::Block, &networks, "", false).await.unwrap();
    let start = Instant::now();
    let refused = loop {
        match second.invoke(&acme("sam").from_address(client), look()).await {
            Err(refusal) => break refusal,
            Ok(_) => assert!(start.elapsed() < PROMISED),
        }
    };
    assert_eq!(refused.code, "firewall.tenant.blocked");
    second.invoke(&acme("sam").from_address("203.0.114.7".parse().unwrap()), look()).await.unwrap();

    // Five guesses are free on all nodes together.
    let guess = async |host: &Host| {
        let login =
            Login { tenant: "acme".to_owned(), user: "olga".to_owned(), password: password("not the password") };
        host.door().login(&knock(), &login).await.unwrap_err().code.into_owned()
    };
    let mut codes = Vec::new();
    for host in [&first, &second, &first, &second, &first, &second, &first] {
        codes.push(guess(host).await);
    }
    let wanted = [["login.failed"; 5].as_slice(), &["login.slow-down"; 2]].concat();
    assert_eq!(codes, wanted);
    first.close().await.unwrap();
    second.close().await.unwrap();
}
