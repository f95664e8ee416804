//! Signing in at a provider of identities, by the built host: against a provider of others, `oidc-provider`, and against one that
//! is hostile.

mod attacks;
mod browser;
mod hostile;
mod judged;
mod people;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::browser::{Browser, encoded};
use self::hostile::{Provider, SECRET};
use crate::https::{Came, Served};
use crate::opsiq::World;

/// A host that serves the tenant `acme` of ada, whose people sign in at `corp`.
struct Site {
    world: World,
    served: Served,
    /// The entry that was looked at last, by rule.
    told: Mutex<HashMap<String, u64>>,
}

/// What an owner says of a provider: accounts are made for those of example.com, in the role support; it asks for two factors.
fn settings(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "client_id": "opsiq", "client_secret": SECRET, "domains": ["example.com"],
        "default_role": "support", "make_accounts": true, "second_factor": true,
    })
}

impl Site {
    async fn new(corp: &Provider) -> Self {
        Self::of(&[corp.upstream.port], &settings(&corp.issuer())).await
    }

    /// With providers on these ports, the first of which `settings` are of.
    async fn of(ports: &[u16], settings: &Value) -> Self {
        let world = World::new();
        for port in ports {
            world.configure(&format!("[[sso.private-target]]\ncidr = \"127.0.0.1/32\"\nport = {port}\ntls = false\n"));
        }
        world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
        let served = Served::start(&world, &[]);
        let site = Self { world, served, told: Mutex::default() };
        site.put("corp", settings).await.is(200);
        site
    }

    async fn put(&self, provider: &str, settings: &Value) -> Came {
        self.ada("PUT", &format!("/v1/sso/providers/{provider}"), Some(settings.clone())).await
    }

    async fn ada(&self, method: &str, path: &str, body: Option<Value>) -> Came {
        self.served.ask(Some("acme/ada"), method, path, body).await
    }

    /// Waits until the log says that somebody was not let in by this rule, once more than it said before. Those that are many are told
    /// together, a second later.
    async fn because(&self, rule: &str) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let log = self.ada("GET", "/v1/audit?kind=refused&limit=20", None).await.is(200);
            let entries = log["items"].as_array().unwrap();
            let last =
                entries.iter().find(|entry| field(entry, "rule") == rule).map(|entry| entry["seq"].as_u64().unwrap());
            if let Some(last) = last.filter(|_| last > self.told.lock().unwrap().get(rule).copied()) {
                self.told.lock().unwrap().insert(rule.to_owned(), last);
                return;
            }
            assert!(Instant::now() < until, "{rule} is not why: {entries:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The people of the tenant, by name, with their roles.
    async fn people(&self) -> Vec<(String, String)> {
        let people = self.ada("GET", "/v1/users", None).await.is(200);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let role = |user: &Value| user["custom"].as_str().map_or_else(|| text(&user["role"]), str::to_owned);
        people["items"].as_array().unwrap().iter().map(|user| (text(&user["name"]), role(user))).collect()
    }
}

/// A field of an entry of the log.
fn field(entry: &Value, name: &str) -> String {
    let fields = &entry["fields"];
    fields[name].as_str().unwrap_or_else(|| panic!("{name} is not in {entry}")).to_owned()
}

/// Comes back to a provider's address with a code.
async fn back(site: &Site, browser: &mut Browser, away: &str, provider: &str, code: &str) -> Came {
    let state = encoded(&browser::param(away, "state"));
    let path = format!("/v1/login/sso/acme/{provider}/return?code={}&state={state}", encoded(code));
    browser.open(&site.served, &path, None).await
}

/// The one thing that whoever is not let in hears.
#[track_caller]
fn plain(came: &Came) {
    assert_eq!(came.status, 401, "{came:?}");
    assert_eq!(came.header("content-type"), "text/html; charset=utf-8");
    let page = String::from_utf8(came.body.to_vec()).unwrap();
    assert!(page.contains("Signing in at the provider did not work. Begin again;"), "{page}");
    let kept = came.headers.get_all("set-cookie").iter().all(|cookie| cookie.to_str().unwrap().contains("Max-Age=0"));
    assert!(kept, "no cookie of a session: {came:?}");
}
