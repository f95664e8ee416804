//! Two tenants in one host process: `acme` attacks it in every way a plugin or a caller can, and `calm` goes on calling.
//! What `calm` is promised is the neighbour's service level: no errors, and a 99th percentile of at most twice what it is
//! without the attack, or 20 ms more.

mod attacks;
mod bombs;
mod live;
mod server;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use attacks::{Attack, BY_CALLS, BY_COMPONENTS, By, CONCURRENCY};
pub(crate) use live::Live;
use server::Server;

use crate::opsiq::{World, binary, guest};
use crate::written::component_of;

/// What `acme` keeps from its plugins.
pub(crate) const SECRET: &str = "kanarienvogel+0123456789";

/// Each of `acme`'s calls may have so much memory.
const MEMORY: u64 = 64 << 20;
/// And a request or an answer, parsed and not, beside it; the compiler's process is not the host's.
const BESIDE: u64 = 8 << 20;

/// The two tenants and what they have.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) server: Server,
    /// Where no plugin goes, each the base of an installation.
    inside: Vec<String>,
    components: Mutex<HashMap<&'static str, PathBuf>>,
}

impl Site {
    /// One whose `acme` has the plugins of these attacks.
    pub(crate) fn new(attacks: &[Attack]) -> Self {
        let (world, server) = (World::new(), Server::start());
        world.open_loopback(server.port);
        world.configure(&format!(
            "[ceiling]\ncompile = \"3s\"\n[ceiling.limits]\nhttp-connect = \"100ms\"\n\
             [fairness.tenant.acme]\nconcurrency = {CONCURRENCY}\n\
             [fairness.tenant.acme.installation.crowded]\nconcurrency = 2\nqueue = 2\n"
        ));
        let (url, keys) = (server.url(), [("signing-secret", SECRET)]);
        let config = [("base-url", url.as_str())];
        world.install(&guest("hostile"), "evil", &config, &keys);
        world.run(&["tenant", "create", "calm", "--owner", "cora"]).ok();
        let base = format!("base-url={url}");
        for (who, name) in [("acme/ada", "crowded"), ("calm/cora", "evil")] {
            let install = ["--as", who, "connector", "install", "hostile", "--name", name, "--yes", "--config", &base];
            world.run(&install).ok();
            world.run_with(&["--as", who, "key", "set", name, "signing-secret", "--stdin"], "of no interest").ok();
        }
        for attack in attacks {
            if let By::Calls(name, "attack", _) = attack.by {
                let file = world.file(&format!("{name}.wasm"));
                fs::write(&file, component_of(name, false)).unwrap();
                world.install(&file, name, &[], &keys);
            }
        }
        let inside = if attacks.is_empty() { Vec::new() } else { attacks::forbidden(&server) };
        for (n, base) in inside.iter().enumerate() {
            let (name, base) = (format!("inside-{n}"), format!("base-url={base}"));
            let (who, config) = (["--as", "acme/ada"], ["--yes", "--config", &base]);
            let install = [&who[..], &["connector", "install", "hostile", "--name", &name], &config].concat();
            world.run(&install).ok();
            world.run_with(&[&who[..], &["key", "set", &name, "signing-secret", "--stdin"]].concat(), SECRET).ok();
        }
        Self { world, server, inside, components: Mutex::default() }
    }

    /// The built command, taking calls.
    pub(crate) fn stream(&self) -> Live {
        Live::stream(&self.world)
    }

    /// A host that also registers.
    pub(crate) fn rig(&self) -> Live {
        let mut command = Command::new(binary("rig"));
        command.arg(self.world.data()).env("RUST_BACKTRACE", "0");
        Live::start(command)
    }

    /// The file of a component.
    fn component(&self, name: &'static str) -> PathBuf {
        let mut components = self.components.lock().unwrap();
        let make = || {
            let file = self.world.file(&format!("{name}.bomb.wasm"));
            fs::write(&file, bombs::component(name)).unwrap();
            file
        };
        components.entry(name).or_insert_with(make).clone()
    }

    /// Makes what the attack needs beforehand.
    pub(crate) fn prepare(&self, attack: &Attack) {
        if let By::Components(names) = attack.by {
            for name in names {
                self.component(name);
            }
        }
    }
}

/// How calls ended, by code.
pub(crate) type Ends = BTreeMap<String, u64>;

/// The code of an answer.
pub(crate) fn code(answer: &Value) -> String {
    match answer["error"]["code"].as_str() {
        None if answer["ok"] == true => "ok".to_owned(),
        None => panic!("neither an answer nor a refusal: {answer}"),
        Some(code) => code.to_owned(),
    }
}

/// Numbers for the ids of calls, none twice.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What `calm` saw: how long its calls took, and how those ended that were not answered.
#[derive(Default)]
pub(crate) struct Seen {
    taken: Vec<Duration>,
    pub(crate) errors: Vec<String>,
}

impl Seen {
    /// Makes `calm`'s calls, one after the other, as long as `goes_on`.
    pub(crate) fn calls(&mut self, live: &Live, mut goes_on: impl FnMut() -> bool) {
        while goes_on() {
            let id = format!("calm-{}", number());
            let (answer, took) = live.call(&id, "calm/cora", "evil", "echo", &json!({ "text": "hello" }));
            self.taken.push(took);
            if answer["ok"] != true {
                self.errors.push(code(&answer));
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    /// The same, for a time.
    pub(crate) fn calls_for(&mut self, live: &Live, time: Duration) {
        let until = Instant::now() + time;
        self.calls(live, || Instant::now() < until);
    }

    pub(crate) fn count(&self) -> usize {
        self.taken.len()
    }

    /// The time below which this part of the calls took, in thousandths.
    pub(crate) fn quantile(&self, thousandths: usize) -> Duration {
        let mut sorted = self.taken.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * thousandths / 1000).or(sorted.last()).copied().unwrap_or_default()
    }
}

/// One who attacks.
struct Attacker<'a> {
    site: &'a Site,
    live: &'a Live,
    attack: &'a Attack,
    /// How many times all of them did.
    next: &'a AtomicUsize,
}

impl Attacker<'_> {
    fn call(&self, installation: &str, action: &str, params: &Value) -> (Value, Duration) {
        self.live.call(&format!("acme-{}", number()), "acme/ada", installation, action, params)
    }

    /// Attacks once; all come by one pipe, which would be what is measured if short calls came without pause.
    fn once(&self) -> Vec<Value> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, took) = match self.attack.by {
            By::Calls(installation, action, params) => self.call(installation, action, &params(self.site, n)),
            By::Inside => {
                let at = n % self.site.inside.len();
                let url = format!("{}/x", self.site.inside[at]);
                self.call(&format!("inside-{at}"), "fetch", &json!({ "method": "GET", "url": url }))
            }
            By::Orders(_) => self.call("evil", "spin", &json!({})),
            By::Components(names) => {
                let file = self.site.component(names[n % names.len()]);
                self.live.ask(&json!({ "id": format!("operator-{}", number()), "register": file })).answer()
            }
            By::Leaving => return self.leave(),
        };
        std::thread::sleep(Duration::from_millis(4).saturating_sub(took));
        vec![answer]
    }

    fn leave(&self) -> Vec<Value> {
        let ids: Vec<_> = (0..4).map(|_| format!("acme-{}", number())).collect();
        let silent = |id: &String| self.live.begin(id, "acme/ada", "evil", "sleep-in-host-call", &json!({}));
        let asked: Vec<_> = ids.iter().map(silent).collect();
        std::thread::sleep(Duration::from_millis(10));
        for id in &ids {
            self.live.tell(&json!({ "cancel": id }));
        }
        asked.into_iter().map(|asked| asked.answer().0).collect()
    }
}

/// Sets what it holds when it goes, also by a panic, lest whoever waits for that wait for ever.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Attacks while `body` runs, and a moment before it begins; each attacker at least `least` times. How the attack ended.
pub(crate) fn under<T>(site: &Site, live: &Live, attack: &Attack, least: usize, body: impl FnOnce() -> T) -> (T, Ends) {
    let (over, ends, next) = (AtomicBool::new(false), Mutex::new(Ends::new()), AtomicUsize::new(0));
    let attacker = || {
        let attacker = Attacker { site, live, attack, next: &next };
        let mut done = 0;
        while done < least || !over.load(Ordering::Relaxed) {
            for answer in attacker.once() {
                *ends.lock().unwrap().entry(code(&answer)).or_default() += 1;
            }
            done += 1;
        }
    };
    let commander = || {
        if let By::Orders(orders) = attack.by {
            while !over.load(Ordering::Relaxed) {
                for order in orders {
                    site.world.run(order).ok();
                }
            }
        }
    };
    let done = std::thread::scope(|scope| {
        for _ in 0..attack.callers {
            scope.spawn(attacker);
        }
        scope.spawn(commander);
        let _ends = Sets(&over);
        std::thread::sleep(Duration::from_millis(100));
        body()
    });
    (done, ends.into_inner().unwrap())
}

/// What is wrong with how an attack ended; nothing when it is as it must be. On a busy machine what computes may not come
/// to use its time, and what waits may find no room; both are said by name.
pub(crate) fn wrong(attack: &Attack, ends: &Ends) -> Option<String> {
    let known = |code: &String| {
        let busy = ["wall_exceeded", "limit."];
        attack.ends.iter().chain(&busy).any(|end| code.starts_with(end))
    };
    if ends.is_empty() || !ends.keys().all(known) {
        return Some(format!("{} ended in {ends:?}, not in {:?}", attack.name, attack.ends));
    }
    None
}

/// The most memory the host may have during an attack that had so much before it.
pub(crate) fn most_memory(attack: &Attack, before: u64) -> u64 {
    let callers = attack.callers.max(CONCURRENCY) as u64;
    before + callers * (MEMORY + BESIDE)
}

/// One attack, measured: idle and attacked in turns, so that a machine that others use as well is as busy for both.
pub(crate) struct Measured {
    pub(crate) idle: Seen,
    pub(crate) attacked: Seen,
    pub(crate) ends: Ends,
    /// Resident memory before it, and the most during it, in bytes.
    pub(crate) memory: (u64, u64),
}

impl Measured {
    /// Measures in `rounds` of `time` each.
    pub(crate) fn take(site: &Site, live: &Live, attack: &Attack, rounds: usize, time: Duration) -> Self {
        site.prepare(attack);
        let (mut idle, mut attacked, mut ends) = (Seen::default(), Seen::default(), Ends::new());
        // A host that has not served yet has not what it needs for it.
        Seen::default().calls_for(live, time / 10);
        live.forget_peak();
        let before = live.memory().0;
        for _ in 0..rounds {
            idle.calls_for(live, time);
            let ((), ended) = under(site, live, attack, 1, || attacked.calls_for(live, time));
            for (code, times) in ended {
                *ends.entry(code).or_default() += times;
            }
        }
        Self { idle, attacked, ends, memory: (before, live.memory().1) }
    }

    /// Whether the neighbour has what it is promised.
    pub(crate) fn is_kept(&self) -> bool {
        let idle = self.idle.quantile(990);
        self.attacked.quantile(990) <= (idle * 2).max(idle + Duration::from_millis(20))
            && self.attacked.errors.is_empty()
            && self.idle.errors.is_empty()
    }
}
