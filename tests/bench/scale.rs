//! What grows with a host and what must not: starting with code that is compiled already, and thousands of installations.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opsiq_gate::{Actor, Answer, Call, Compiler, Host, HostOptions, InstallRequest, NewTenant};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::guarded::Guest;
use crate::measure::sample;

/// The binary that compiles, which lies beside this one.
pub(crate) fn opsiq() -> PathBuf {
    std::env::current_exe().expect("this program's file").with_file_name("opsiq")
}

fn options(dir: &Path) -> HostOptions {
    HostOptions { compiler: Compiler::Child(opsiq()), runs: true, ..HostOptions::new(dir) }
}

/// Resident memory of this process, in KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn request(name: &str, digest: &str) -> InstallRequest {
    let (name, plugin) = (name.to_owned(), digest.to_owned());
    InstallRequest { name, plugin, without: vec![], confirm: vec![], config: json!({}) }
}

/// A host with `tenants` tenants, each with `each` installations of one plugin.
pub(crate) struct Many {
    host: Host,
    tenants: Vec<Actor>,
    each: usize,
}

impl Many {
    pub(crate) async fn new(bytes: &[u8], dir: &Path) -> (Self, String) {
        Host::init(options(dir)).await.expect("a new data directory");
        let host = Host::open(options(dir)).await.expect("what was just made");
        let registered = host.catalogue().register(&Actor::operator(), bytes.to_vec()).await.expect("a plugin");
        let mut many = Self { host, tenants: vec![], each: 1 };
        many.tenant().await;
        let digest = registered.digest.to_string();
        many.install(0, 0, &digest).await;
        (many, digest)
    }

    async fn tenant(&mut self) {
        let name = format!("tenant{}", self.tenants.len());
        let new = NewTenant { id: name.parse().expect("a slug"), title: name.clone(), owner: "ada".into() };
        let tenant = self.host.tenants().create(&Actor::operator(), new).await.expect("a tenant");
        self.tenants.push(Actor::user(tenant.id, "ada"));
    }

    async fn install(&self, tenant: usize, at: usize, digest: &str) {
        let made = self.host.installations().install(&self.tenants[tenant], &request(&format!("i{at}"), digest)).await;
        made.expect("an installation");
    }

    /// Grows to `tenants` tenants of `each` installations.
    pub(crate) async fn grow(&mut self, tenants: usize, each: usize, digest: &str) {
        while self.tenants.len() < tenants {
            self.tenant().await;
        }
        self.each = each;
        let many = &*self;
        // Side by side, so that one commit takes many.
        let all = (0..tenants).map(|tenant| async move {
            for at in usize::from(tenant == 0)..each {
                many.install(tenant, at, digest).await;
            }
        });
        futures::future::join_all(all).await;
    }

    /// Calls the installation `at` of `tenant`.
    pub(crate) async fn call(&self, guest: Guest<'_>, tenant: usize, at: usize) {
        let call = Call {
            installation: format!("i{at}"),
            action: guest.action.to_owned(),
            params: guest.params.as_bytes().to_vec(),
            idempotency_key: None,
        };
        let answer = self.host.invoke(&self.tenants[tenant], call).await;
        assert!(matches!(answer, Ok(Answer::Done(_))), "{answer:?}");
    }

    /// Calls every installation once.
    async fn call_all(&self, guest: Guest<'_>) {
        let all = (0..self.tenants.len()).map(|tenant| async move {
            for at in 0..self.each {
                self.call(guest, tenant, at).await;
            }
        });
        futures::future::join_all(all).await;
    }

    pub(crate) async fn close(self) {
        self.host.close().await.expect("a durable end");
    }
}

/// What `tenants` times `each` installations cost.
pub(crate) struct Grown {
    /// CPU microseconds a call, with one installation and with all of them.
    pub(crate) call_us: [f64; 2],
    /// KiB of resident memory for each installation, each having been called.
    pub(crate) kib_each: f64,
    /// Installations.
    pub(crate) count: usize,
}

pub(crate) fn grow(runtime: &Runtime, guest: Guest<'_>, dir: &Path, tenants: usize, each: usize) -> Grown {
    let (mut many, digest) = runtime.block_on(Many::new(guest.bytes, dir));
    let calls = |many: &Many| {
        let rounds = (0..5).map(|_| {
            let calls = sample(|| {
                runtime.block_on(async {
                    // Sixteen callers of one installation, as commits are for many at once.
                    let callers = (0..16).map(|_| async {
                        for _ in 0..64 {
                            many.call(guest, 0, 0).await;
                        }
                    });
                    futures::future::join_all(callers).await;
                });
                16 * 64
            });
            calls.cpu_us
        });
        let mut rounds: Vec<f64> = rounds.collect();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    };
    let one = calls(&many);
    let before = resident();
    runtime.block_on(many.grow(tenants, each, &digest));
    runtime.block_on(many.call_all(guest));
    let count = tenants * each;
    #[allow(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let kib_each = (resident() - before) / count as f64;
    let all = calls(&many);
    runtime.block_on(many.close());
    Grown { call_us: [one, all], kib_each, count }
}

/// From opening a data directory, whose plugin is compiled already, to the answer of the first call: median of `rounds`.
pub(crate) fn cold(runtime: &Runtime, guest: Guest<'_>, dir: &Path, rounds: usize) -> Duration {
    let (many, _) = runtime.block_on(Many::new(guest.bytes, dir));
    let tenants = many.tenants.clone();
    runtime.block_on(many.close());
    let mut took: Vec<Duration> = (0..rounds)
        .map(|_| {
            runtime.block_on(async {
                let begun = Instant::now();
                let host = Host::open(options(dir)).await.expect("a data directory");
                let many = Many { host, tenants: tenants.clone(), each: 1 };
                many.call(guest, 0, 0).await;
                let took = begun.elapsed();
                many.close().await;
                took
            })
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}
