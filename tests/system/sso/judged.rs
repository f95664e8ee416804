//! The outside judge: `oidc-provider`, an implementation of others that is certified, run by node. It demands PKCE, tells claims at
//! its userinfo endpoint alone, and names itself in its answers.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::browser::{Browser, param};
use super::people::code;
use super::{Site, settings};
use crate::https::Served;
use crate::opsiq::{World, built};

const SECRET: &str = super::SECRET;

struct Judge {
    child: Child,
    issuer: String,
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modules() -> Option<PathBuf> {
    let modules = built().parent().unwrap().join("fixtures/oidc-provider/node_modules");
    if modules.join("oidc-provider").is_dir() {
        return Some(modules);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have {}: run .ci/fixtures", modules.display());
    eprintln!("NOT RUN: oidc-provider is missing; .ci/fixtures fetches it, with npm");
    None
}

impl Judge {
    fn start(modules: &PathBuf, settings: &Value) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/system/oidc-provider/provider.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(modules).arg(settings.to_string());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, issuer: said["issuer"].as_str().unwrap().to_owned() }
    }

    fn port(&self) -> u16 {
        self.issuer.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Signs somebody in there, as a browser that follows where it is sent; where it is sent back to.
    fn sign_in(&self, away: &str, sub: &str) -> String {
        let jar = tempfile::NamedTempFile::new().unwrap();
        let mut url = away.to_owned();
        loop {
            assert!(url.starts_with(&self.issuer), "{url}");
            let out = Command::new("curl")
                .args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-b"])
                .arg(jar.path())
                .arg("-c")
                .arg(jar.path())
                .args(["-H", &format!("cookie: hint={sub}")])
                .arg(&url)
                .output()
                .unwrap();
            let said = String::from_utf8(out.stdout).unwrap();
            let (status, next) = said.split_once(' ').unwrap();
            assert!(matches!(status, "302" | "303"), "{status} at {url}");
            if next.starts_with("https://localhost:") {
                return next.to_owned();
            }
            next.clone_into(&mut url);
        }
    }
}

/// A host, and the judge that sends its people back to it.
async fn meet(modules: &PathBuf, more: Value, change: impl FnOnce(&mut Value)) -> (Site, Judge) {
    let world = World::new();
    world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    // The judge is told where to send people back, and the host where the judge is: so a port is chosen first.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirect = format!("https://localhost:{port}/v1/login/sso/acme/corp/return");
    let mut said = json!({
        "redirect": redirect, "secret": SECRET,
        "accounts": { "u-1": { "email": "Eve@Example.com", "email_verified": true, "groups": ["staff"] } },
    });
    for (name, value) in more.as_object().unwrap() {
        said[name] = value.clone();
    }
    let judge = Judge::start(modules, &said);
    let opened = format!("[[sso.private-target]]\ncidr = \"127.0.0.1/32\"\nport = {}\ntls = false\n", judge.port());
    world.configure(&opened);
    let words =
        ["--as", "acme/ada", "sso", "set", "corp", "--issuer", &judge.issuer, "--client-id", "opsiq", "--stdin"];
    let words = [&words[..], &["--domain", "example.com", "--make-accounts", "--default-role", "support"]].concat();
    let set = world.run_with(&words, SECRET).ok();
    assert_eq!((&set["name"], &set["enforced"]), (&json!("corp"), &json!(false)));
    assert_eq!(world.run(&["--as", "acme/ada", "sso", "check", "corp"]).ok()["issuer"], judge.issuer.as_str());
    assert_eq!(world.run(&["--as", "acme/ada", "sso", "list"]).ok().as_array().unwrap().len(), 1);
    let served = Served::start(&world, &[("OPSIQ_SERVER__LISTEN", &format!("127.0.0.1:{port}"))]);
    let site = Site { world, served, told: Mutex::default() };
    let mut settings = settings(&judge.issuer);
    settings["second_factor"] = json!(false);
    change(&mut settings);
    site.put("corp", &settings).await.is(200);
    (site, judge)
}

async fn through(site: &Site, judge: &Judge, browser: &mut Browser, away: &str, sub: &str) -> crate::https::Came {
    let back = judge.sign_in(away, sub);
    assert!(param(&back, "iss") == judge.issuer);
    let path = back.split_once("://").unwrap().1.split_once('/').unwrap().1;
    browser.open(&site.served, &format!("/{path}"), None).await
}

#[tokio::test]
async fn somebody_signs_in_at_a_provider_of_others_and_sets_an_authenticator_here() {
    let Some(modules) = modules() else { return };
    for more in [json!({}), json!({ "auth": "client_secret_post", "conform": false })] {
        let (site, judge) = meet(&modules, more, |_| {}).await;
        let mut browser = Browser::default();
        let away = browser.leave(&site.served, "corp").await;
        let came = through(&site, &judge, &mut browser, &away, "u-1").await;
        let page = String::from_utf8(came.body.to_vec()).unwrap();
        assert!(came.status == 200 && page.contains("Set an authenticator"), "{came:?}");
        assert!(browser.me(&site.served).await.is_err(), "one factor is none");
        let seed = page.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let again = browser.open(&site.served, "/v1/login/sso/code", Some("code=000000")).await;
        assert_eq!(again.status, 401, "{again:?}");
        let came = browser.open(&site.served, "/v1/login/sso/code", Some(&format!("code={}", code(&seed, 0)))).await;
        let page = String::from_utf8(came.body.to_vec()).unwrap();
        assert!(came.status == 200 && page.matches("<li>").count() == 10, "{came:?}");
        assert_eq!(browser.me(&site.served).await.unwrap()["user"], "eve@example.com");
        // From then on its codes; the one that was shown is used up.
        let mut browser = Browser::default();
        let away = browser.leave(&site.served, "corp").await;
        let came = through(&site, &judge, &mut browser, &away, "u-1").await;
        assert!(String::from_utf8_lossy(&came.body).contains("One more step"), "{came:?}");
        let used = browser.open(&site.served, "/v1/login/sso/code", Some(&format!("code={}", code(&seed, 0)))).await;
        assert_eq!(used.status, 401);
        let came = browser.open(&site.served, "/v1/login/sso/code", Some(&format!("code={}", code(&seed, 1)))).await;
        assert_eq!(came.status, 200, "{came:?}");
        assert!(browser.me(&site.served).await.is_ok());
        // Whom it does not know it sends back with an error.
        let mut browser = Browser::default();
        let away = browser.leave(&site.served, "corp").await;
        super::plain(&through(&site, &judge, &mut browser, &away, "nobody").await);
        site.because("sso.provider-error").await;
    }
}

#[tokio::test]
async fn several_factors_there_are_enough_where_it_says_so_or_an_owner_does() {
    let Some(modules) = modules() else { return };
    let (site, judge) = meet(&modules, json!({ "amr": ["pwd", "otp", "mfa"] }), |_| {}).await;
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    let came = through(&site, &judge, &mut browser, &away, "u-1").await;
    assert!(String::from_utf8_lossy(&came.body).contains("Signed in"), "{came:?}");
    assert_eq!(browser.me(&site.served).await.unwrap()["user"], "eve@example.com");
    // Anew, as for a fresh second factor.
    let came = browser.open(&site.served, "/v1/login/sso/acme/corp?anew=true", None).await;
    let away = came.header("location").to_owned();
    assert_eq!((param(&away, "prompt"), param(&away, "max_age")), ("login".to_owned(), "0".to_owned()));
    assert_eq!(through(&site, &judge, &mut browser, &away, "u-1").await.status, 200);
    // Signed in by a provider that says nothing of factors, at the word of an owner.
    drop((site, judge));
    let (site, judge) = meet(&modules, json!({}), |settings| settings["second_factor"] = json!(true)).await;
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    assert_eq!(through(&site, &judge, &mut browser, &away, "u-1").await.status, 200);
    assert!(browser.me(&site.served).await.is_ok());
    // A client that the provider does not take for the host.
    let mut wrong = settings(&judge.issuer);
    wrong["client_secret"] = json!("another secret altogether");
    site.put("corp", &wrong).await.is(200);
    let mut browser = Browser::default();
    let away = browser.leave(&site.served, "corp").await;
    super::plain(&through(&site, &judge, &mut browser, &away, "u-1").await);
    site.because("sso.code").await;
}
