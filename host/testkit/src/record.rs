//! Recording: a case's call against the real outside, once, so that it can be replayed without it.
//!
//! What is kept of the outside is its answers alone, with every form of every secret masked. All else in the case (what
//! is asked, how it ends, events, storage) comes from replaying the call offline right after, with stand-ins for the
//! secrets; so no signature, link or identifier made with a real secret gets into a file, and what is written is known to
//! replay. A recording is the author's own doing with the author's own secrets, through no installation of any host: it
//! has an effect outside if its action has one, and no audit log to stand in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opsiq_contract::{InstallationId, Permission, PrivateTarget, is_host_header};
use opsiq_egress::{
    Answered, Asked, Egress, EgressConfig, EgressGrant, GuestRequest, Injector, MAX_PIECE, Reply, Scrub, Session,
    Upstream, Verdict,
};
use opsiq_gate::{Played, Props, Refusal};
use opsiq_sandbox::{MemoryKv, Moment, RunError};
use opsiq_vault::{KeyName, LeakGuard, LeakWatch, Secret};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::case::{Body, Case, Exchange, Request};
use crate::file::{Json, Target};
use crate::kit::Kit;
use crate::script::{Script, masked};
use crate::write;

/// Answer headers that are credentials themselves, or belong to one connection.
const NOT_KEPT: &[&str] = &["connection", "content-length", "keep-alive", "set-cookie", "transfer-encoding"];
/// Shorter texts of the config stand in too many places that mean something else.
const CONFIG_MIN: usize = 6;

/// The id of no installation: nothing is installed where a plugin is recorded.
fn nobodys() -> InstallationId {
    "00000000-0000-0000-0000-000000000000".parse().expect("it is a UUID")
}

/// Where the real outside is, and how to get in.
pub struct Live {
    /// Config values in place of the case's.
    pub config: Option<Value>,
    /// The secrets, by the names of the keys.
    pub keys: BTreeMap<String, Secret>,
    /// Private destinations that may be reached.
    pub private_targets: Vec<PrivateTarget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LiveFile {
    config: Option<Json>,
    #[serde(default)]
    keys: BTreeMap<String, KeyText>,
    #[serde(default)]
    private_target: Vec<Target>,
}

/// A secret, taken as `opsiq key set` takes it.
struct KeyText(Secret);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The cause may quote the value.
        Secret::from_user_input(&text).map(Self).map_err(|_| D::Error::custom("this cannot be a key"))
    }
}

impl Live {
    /// Reads `[config]`, `[keys]` and `[[private-target]]`.
    ///
    /// # Errors
    /// A sentence that names the line and quotes nothing of it, since secrets stand there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: LiveFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let known = error.message().contains("unknown field");
            let what = if known { "a field that is none" } else { "not what belongs there" };
            format!("line {line}: {what}; there are [config], [keys] with NAME = \"SECRET\", and [[private-target]]")
        })?;
        let targets = file.private_target.iter().map(|target| {
            let cidr = target.cidr.parse().map_err(|_| format!("`{}` is no address range", target.cidr))?;
            Ok(PrivateTarget { cidr, port: target.port, tls: target.tls })
        });
        Ok(Self {
            config: file.config.map(|Json(config)| config),
            keys: file.keys.into_iter().map(|(name, key)| (name, key.0)).collect(),
            private_targets: targets.collect::<Result<_, String>>()?,
        })
    }
}

/// Why a case was not recorded. Nothing of it was written.
#[derive(Debug)]
pub enum RecordError {
    /// The call was refused, or what surrounds it does not fit the contract.
    Refused(Box<Refusal>),
    /// The outside was not reached, or broke off.
    Outside(String),
    /// The plugin trapped or met a limit, so that there is no end to record.
    Plugin(String),
    /// The call does not replay as it went.
    Differs(String),
    /// A secret would have got into the file.
    Secret(String),
    /// The file.
    File(String),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Outside(why) => write!(f, "the outside did not answer: {why}"),
            Self::Plugin(why) => write!(f, "the plugin did not come to an end: {why}"),
            Self::Differs(why) => write!(f, "the call does not replay as it went: {why}"),
            Self::Secret(key) => write!(f, "the value of key `{key}` would have been written"),
            Self::File(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<Refusal> for RecordError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// A case as it was recorded.
#[derive(Debug)]
pub struct Recording {
    /// The text of its file.
    pub text: String,
    /// How many requests went out.
    pub requests: usize,
}

impl Recording {
    /// Replaces the case's file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = std::fs::write(&draft, &self.text).and_then(|()| std::fs::rename(&draft, path));
        written.map_err(|error| RecordError::File(format!("{} cannot be written: {error}", path.display())))
    }
}

impl Kit {
    /// Makes the call of `case` once against the real outside, replays it, and answers the case with what was recorded in
    /// place of its exchanges and expectations. Writes nothing.
    ///
    /// # Errors
    /// Why there is no recording.
    pub async fn record(&self, case: &Case, live: Live) -> Result<Recording, RecordError> {
        let contract = self.rig.contract();
        let Live { config, keys, private_targets } = live;
        let unknown = keys.keys().find(|name| contract.key(name).is_none());
        if let Some(name) = unknown {
            return Err(RecordError::Outside(format!("the contract has no key `{name}`")));
        }
        let own = |key: &String| KeyName { installation: nobodys(), key: key.clone() };
        let guard = Arc::new(LeakGuard::new(keys.iter().map(|(name, secret)| (own(name), secret))));
        let secrets: Vec<Secret> = keys.values().map(|secret| Secret::from(secret.expose().to_vec())).collect();
        let mut part = case.part.clone();
        part.private_targets.extend(private_targets);
        if let Some(config) = &config {
            part.config = config.clone();
        }
        let grant = self.rig.egress(&part)?;
        let injected =
            grant.rules.iter().filter_map(|rule| rule.inject.as_ref()).flat_map(|inject| inject.value.keys());
        let opened =
            contract.action(&part.action).into_iter().flat_map(|action| action.keys.iter().map(String::as_str));
        let opened = opened.filter(|name| !part.without.contains(&Permission::Key((*name).to_owned())));
        let needed: BTreeSet<&str> = injected.chain(opened).collect();
        if let Some(missing) = needed.into_iter().find(|name| !keys.contains_key(*name)) {
            return Err(RecordError::Outside(format!("it needs the key `{missing}`, which is not given")));
        }

        let relay = Arc::new(Relay::new(grant)?);
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        // Beside a real outside nothing may repeat: what is to be unique there is.
        let once = format!("{now:016x}{:016x}", std::process::id());
        let props = Props {
            upstream: relay.clone(),
            kv: Arc::new(MemoryKv::holding(case.kv.clone())),
            moment: Moment::new(now, &once),
            idempotency_key: once,
            keys,
        };
        let played = self.rig.play(&part, props).await?;
        let answers = relay.take().map_err(RecordError::Outside)?;
        ended(&played)?;

        let scrub = Scrub::new(&secrets);
        let renamed = renamed(config.as_ref(), &case.part.config);
        let answers: Vec<Answered> = answers.into_iter().map(|answer| kept(answer, &scrub, &renamed)).collect();
        self.replayed(case, answers, &played, &guard, &scrub).await
    }

    /// The case with these answers, and with what comes of replaying them.
    async fn replayed(
        &self,
        case: &Case,
        answers: Vec<Answered>,
        live: &Played,
        guard: &LeakGuard,
        scrub: &Scrub,
    ) -> Result<Recording, RecordError> {
        let contract = self.rig.contract();
        let blank = |answer| {
            let url = url::Url::parse("https://any.example/").map_err(|error| RecordError::File(error.to_string()))?;
            let request = Request { method: String::new(), url, headers: BTreeMap::new(), body: None };
            Ok(Exchange { request, answer })
        };
        let exchanges = answers.into_iter().map(blank).collect::<Result<Vec<_>, RecordError>>()?;
        let script = Arc::new(Script::by_order(exchanges.clone()));
        let tried = self.played(case, &script).await?;
        let played = &tried.played;
        if script.unexpected() || script.done() != exchanges.len() {
            let (went, again) = (exchanges.len(), script.asked().len());
            return Err(RecordError::Differs(format!("{went} requests went out, and replayed {again}")));
        }
        ended(played)?;
        if played.end.is_ok() != live.end.is_ok() {
            let told = |played: &Played| match &played.end {
                Ok(_) => "with a result".to_owned(),
                Err(refusal) => format!("with {}", refusal.code),
            };
            return Err(RecordError::Differs(format!("it ended {}, and replayed {}", told(live), told(played))));
        }
        let asked = script.asked();
        let exchanges: Vec<Exchange> = asked
            .into_iter()
            .zip(exchanges)
            .map(|(asked, exchange)| {
                let own = asked.headers.into_iter().filter(|(name, _)| !is_host_header(name));
                let headers = own.map(|(name, value)| (name, masked(&value, contract))).collect();
                let body = (!asked.body.is_empty()).then(|| {
                    serde_json::from_slice(&asked.body).map_or_else(|_| Body::Bytes(asked.body.clone()), Body::Json)
                });
                Exchange { request: Request { method: asked.method, url: asked.url, headers, body }, ..exchange }
            })
            .collect();
        let old = std::fs::read_to_string(&case.path)
            .map_err(|error| RecordError::File(format!("{} cannot be read: {error}", case.path.display())))?;
        let requests = exchanges.len();
        let text = write::recorded(&old, &exchanges, played, &case.kv, &tried.kv.contents())
            .map_err(|why| RecordError::File(format!("{}: {why}", case.path.display())))?;
        // The guard takes escapes off as well, so it finds more than was masked.
        if let Some(key) = guard.find(text.as_bytes(), |_| false).and_then(|keys| keys.first()) {
            return Err(RecordError::Secret(key.key.clone()));
        }
        if scrub.whole(text.as_bytes()) != text.as_bytes() {
            return Err(RecordError::Secret("one of those given".to_owned()));
        }
        let again = Case::parse(&case.path, &text).map_err(|error| RecordError::File(error.to_string()))?;
        let report = self.run_plain(&again).await?;
        if let Some(wrong) = report.mismatches.first() {
            return Err(RecordError::Differs(format!("{}: {} and then {}", wrong.at, wrong.expected, wrong.found)));
        }
        Ok(Recording { text, requests })
    }
}

/// Refuses an end that is none of the plugin's own.
fn ended(played: &Played) -> Result<(), RecordError> {
    match (&played.end, &played.failure) {
        (Ok(_), _) | (Err(_), Some(RunError::Failure(_))) => Ok(()),
        (Err(refusal), Some(RunError::Fault(_))) => Err(RecordError::Plugin(refusal.to_string())),
        (Err(refusal), None) => Err(refusal.clone().into()),
    }
}

/// Texts of the live config and what the case has in their place, longest first.
fn renamed(live: Option<&Value>, case: &Value) -> Vec<(String, String)> {
    let members = live.and_then(Value::as_object).into_iter().flatten();
    let texts = members.filter_map(|(name, value)| Some((value.as_str()?, case.get(name)?.as_str()?)));
    let mut renamed: Vec<(String, String)> = texts
        .filter(|(live, case)| live != case && live.len() >= CONFIG_MIN)
        .map(|(live, case)| (live.to_owned(), case.to_owned()))
        .collect();
    renamed.sort_by_key(|(live, _)| std::cmp::Reverse(live.len()));
    renamed
}

/// An answer as it may be kept.
fn kept(answer: Answered, scrub: &Scrub, renamed: &[(String, String)]) -> Answered {
    let clean = |bytes: &[u8]| match String::from_utf8(scrub.whole(bytes)) {
        Ok(text) => renamed.iter().fold(text, |text, (live, case)| text.replace(live, case)).into_bytes(),
        Err(no_text) => no_text.into_bytes(),
    };
    let headers = answer.headers.into_iter().filter(|(name, _)| !NOT_KEPT.contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name, String::from_utf8_lossy(&clean(value.as_bytes())).into_owned())).collect();
    Answered { status: answer.status, headers, body: clean(&answer.body) }
}

/// An upstream that is the real one: what reaches it goes on through the way out in earnest, under the same rules, and so
/// is checked twice.
struct Relay {
    session: Session,
    answers: Mutex<Result<Vec<Answered>, String>>,
}

/// The credentials are in the requests already.
struct NoKeys;

impl Injector for NoKeys {
    fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

impl Relay {
    fn new(mut grant: EgressGrant) -> Result<Self, RecordError> {
        for rule in &mut grant.rules {
            rule.inject = None;
            // The call itself follows them.
            rule.redirects = 0;
        }
        let failed = |error: opsiq_egress::EgressError| RecordError::Outside(error.to_string());
        let egress = Egress::new(EgressConfig::system().map_err(failed)?).map_err(failed)?;
        let session = Session::new(
            grant,
            Arc::new(egress),
            Arc::new(NoKeys),
            Arc::new(LeakWatch::new(Arc::default(), nobodys())),
        );
        Ok(Self { session, answers: Mutex::new(Ok(Vec::new())) })
    }

    fn take(&self) -> Result<Vec<Answered>, String> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *answers, Ok(Vec::new()))
    }

    async fn pass_on(&self, asked: Asked) -> Result<Answered, String> {
        let body = asked.headers.iter().any(|(name, _)| name == "content-length").then_some(asked.body);
        let headers = asked.headers.into_iter().filter(|(name, _)| !is_host_header(name)).collect();
        let request =
            GuestRequest { method: asked.method, url: asked.url.to_string(), headers, body, timeout_ms: None };
        let told = |failure: opsiq_egress::HttpFailure| match self.session.records().last().map(|last| &last.verdict) {
            Some(Verdict::Failed { detail, .. }) => detail.clone(),
            _ => failure.to_string(),
        };
        let mut answer = self.session.send(request).await.map_err(told)?;
        let mut body = Vec::new();
        loop {
            let piece = answer.body.read(MAX_PIECE).await.map_err(told)?;
            if piece.is_empty() {
                return Ok(Answered { status: answer.status, headers: answer.headers, body });
            }
            body.extend(piece);
        }
    }
}

#[async_trait]
impl Upstream for Relay {
    async fn answer(&self, request: Asked) -> Reply {
        let answer = self.pass_on(request).await;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, &mut *answers) {
            (Ok(answer), Ok(all)) => {
                all.push(answer.clone());
                Reply::Whole(answer)
            }
            (Err(why), _) => {
                *answers = Err(why);
                Reply::End
            }
            (Ok(_), Err(_)) => Reply::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_of_secrets_quotes_none() {
        for text in
            ["[keys]\ntoken = \"canary-1234\n", "[keys]\ntoken = canary-1234\n", "[key]\ntoken = \"canary-1234\"\n"]
        {
            let error = Live::parse(text).err().unwrap();
            assert!(!error.contains("canary") && error.contains("line"), "{error}");
        }
        let live = Live::parse("[config]\nbase-url = \"http://x\"\n[keys]\ntoken = \"canary-1234\"\n").unwrap();
        assert_eq!(live.keys["token"].expose(), b"canary-1234");
    }

    #[test]
    fn answers_are_kept_without_secrets_cookies_and_the_live_address() {
        let secret = Secret::from(b"canary-1234".to_vec());
        let scrub = Scrub::new([&secret]);
        let renamed = renamed(
            Some(&serde_json::json!({ "base-url": "http://127.0.0.1:9", "owner": "me" })),
            &serde_json::json!({ "base-url": "https://shop.example", "owner": "you" }),
        );
        let answer = Answered {
            status: 200,
            headers: vec![("set-cookie".into(), "a=b".into()), ("link".into(), "<http://127.0.0.1:9/2>".into())],
            body: b"me canary-1234 Y2FuYXJ5LTEyMzQ= 63616e6172792d31323334 http://127.0.0.1:9/x".to_vec(),
        };
        let kept = kept(answer, &scrub, &renamed);
        assert_eq!(kept.headers, [("link".to_owned(), "<https://shop.example/2>".to_owned())]);
        let body = String::from_utf8(kept.body).unwrap();
        assert!(body.starts_with("me [sealed] [sealed]") && body.ends_with("https://shop.example/x"), "{body}");
        assert!(!body.contains("canary") && !body.contains("63616e"), "{body}");
    }
}
