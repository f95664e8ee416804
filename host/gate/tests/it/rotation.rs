//! The keys above all content rotate while calls go on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opsiq_audit::{Filter, Kind, prove_content};
use opsiq_contract::TenantId;
use opsiq_gate::{Actor, Answer, Call, Class, Host, HostOptions, KeyStatus, MasterKeys, NewTenant, RootSource, Walked};
use opsiq_store::{SEALED_COLUMNS, SealedPlace, Store};
use opsiq_vault::{KeyCheck, Place, RootKey, Secret, TenantVault, Vault, WrappedKey};
use tempfile::TempDir;

use crate::world::{World, call, data, keyed, options, request, secret, tenant};

const TENANTS: [&str; 3] = ["acme", "other", "third"];

fn quiet(_: Walked<'_>) {}

/// Three tenants with `echo`, closed.
async fn three() -> TempDir {
    let World { dir, host } = World::new().await;
    let new = NewTenant { id: tenant("third"), title: "Third".to_owned(), owner: "olga".to_owned() };
    host.tenants().create(&Actor::operator(), new).await.unwrap();
    for name in &TENANTS[1..] {
        let olga = Actor::user(tenant(name), "olga");
        host.installations().install(&olga, &request("echo")).await.unwrap();
        host.keys().set(&olga, "echo", "api-key", secret()).await.unwrap();
    }
    host.close().await.unwrap();
    dir
}

/// What somebody kept who copied `keys.db` and the root key.
struct Kept {
    root: RootKey,
    check: KeyCheck,
    keys: Vec<(TenantId, Vec<WrappedKey>)>,
}

async fn kept(dir: &TempDir) -> Kept {
    let root = RootKey::parse(&std::fs::read_to_string(data(dir).join("root.key")).unwrap()).unwrap();
    let store = Store::open(&data(dir)).await.unwrap();
    let check = store.root_check().await.unwrap().unwrap();
    let mut keys = Vec::new();
    for name in TENANTS {
        keys.push((tenant(name), store.tenant_keys(&tenant(name)).await.unwrap()));
    }
    store.close().await;
    Kept { root, check, keys }
}

impl Kept {
    fn vaults(&self) -> Vec<(TenantId, TenantVault)> {
        let vault = Vault::open(&self.root, &self.check).unwrap();
        let open = |(id, keys): &(TenantId, Vec<WrappedKey>)| (id.clone(), vault.tenant(id, keys).unwrap());
        self.keys.iter().map(open).collect()
    }

    /// How many stored values these keys open, and how many they do not.
    async fn opens(&self, dir: &TempDir) -> (u64, u64) {
        let store = Store::open(&data(dir)).await.unwrap();
        let mut opened = (0, 0);
        for (id, vault) in self.vaults() {
            for column in SEALED_COLUMNS {
                let mut after = None;
                loop {
                    let (values, next) = store.sealed_values(column, id.as_ref(), after.as_ref()).await.unwrap();
                    for value in values {
                        let proved = match &value.place {
                            SealedPlace::Header(header) => {
                                prove_content(&vault, header, &value.stored).map(|(key, _)| key)
                            }
                            SealedPlace::Row(row, version) => {
                                let row: Vec<&str> = row.iter().map(String::as_str).collect();
                                let (table, column_name) = (column.table, column.column);
                                let place = Place { table, row: &row, column: column_name, version: *version };
                                vault.prove(&place, column.form, &value.stored)
                            }
                        };
                        if proved.is_ok() { opened.0 += 1 } else { opened.1 += 1 }
                    }
                    match next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
            }
        }
        store.close().await;
        opened
    }

    /// Bytes of which none may be in any file once their keys are destroyed: ids that name the old keys, keys as they were
    /// wrapped, the root key.
    fn traces(&self) -> Vec<Vec<u8>> {
        let mut traces = vec![self.check.as_bytes()[22..].to_vec(), self.root.to_text().as_bytes().to_vec()];
        for (_, keys) in &self.keys {
            for key in keys {
                traces.push(key.id().as_bytes().to_vec());
                traces.push(key.as_bytes()[22..].to_vec());
            }
        }
        traces
    }
}

fn found(dir: &Path, trace: &[u8]) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let here = if path.is_dir() {
            found(&path, trace)
        } else {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(trace.len()).any(|window| window == trace).then_some(path)
        };
        if here.is_some() {
            return here;
        }
    }
    None
}

/// Reads, writes and keyed writes of every tenant, from many tasks, until told to stop. Not one may fail.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(host: &Host) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for name in TENANTS {
            for at in 0..4_u32 {
                let (host, stop, done) = (host.clone(), stop.clone(), done.clone());
                tasks.push(tokio::spawn(async move {
                    let olga = Actor::user(tenant(name), "olga");
                    let mut round = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        let params = format!("{{\"id\":\"{name}-{at}-{round}\"}}");
                        let call: Call = match round % 3 {
                            0 => call("look", &params),
                            1 => call("change", &params),
                            _ => keyed("change", &params, &format!("{at}-{round}")),
                        };
                        match host.invoke(&olga, call).await {
                            Ok(Answer::Done(answer)) => assert_eq!(answer.result, params),
                            other => panic!("a call failed: {other:?}"),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        round += 1;
                    }
                }));
            }
        }
        Self { stop, done, tasks }
    }

    async fn more(&self, calls: u64) {
        let goal = self.done.load(Ordering::Relaxed) + calls;
        while self.done.load(Ordering::Relaxed) < goal {
            assert!(self.tasks.iter().all(|task| !task.is_finished()), "a caller ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_tenants_and_the_root_rotate_under_load_and_nothing_fails() {
    let dir = three().await;
    let kept = kept(&dir).await;
    let (opened, _) = kept.opens(&dir).await;
    assert!(opened > 20, "the keys that are kept open everything before: {opened}");

    let host = Host::open(options(&dir)).await.unwrap();
    let (operator, acme) = (Actor::operator(), Actor::user(tenant("acme"), "olga"));
    let waiting = match host.invoke(&acme, call("refund", r#"{"id":"7","amount":5}"#)).await.unwrap() {
        Answer::Pending(view) => view.id,
        Answer::Done(done) => panic!("{done:?}"),
    };
    let first = keyed("change", r#"{"id":"first"}"#, "kept");
    host.invoke(&acme, first.clone()).await.unwrap();
    let load = Load::start(&host);
    load.more(900).await;
    for name in TENANTS {
        let before = load.done.load(Ordering::Relaxed);
        let done = host.master_keys().rotate_tenant(&operator, &tenant(name), &quiet).await.unwrap();
        assert!(done.values() > 100 && !done.resumed && done.generation == 2, "{done:?}");
        assert!(load.done.load(Ordering::Relaxed) > before, "calls went on meanwhile");
        load.more(60).await;
    }
    let rotated = host.master_keys().rotate_root(&operator).await.unwrap();
    assert_eq!((rotated.from, rotated.moved), (kept.root.id().to_string(), 3));
    load.more(60).await;
    host.master_keys().rotate_tenant(&operator, &tenant("acme"), &quiet).await.unwrap();
    load.more(60).await;
    let calls = load.end().await;
    assert!(calls > 1000, "{calls} calls");

    // what was there before is there, under keys that are
    let replayed = host.invoke(&acme, first).await.unwrap();
    assert!(matches!(replayed, Answer::Done(done) if done.replayed));
    assert!(matches!(host.confirmations().approve(&acme, &waiting).await.unwrap(), Answer::Done(_)));
    let verified = host.master_keys().verify(&operator, &quiet).await.unwrap();
    assert_eq!((verified.faulty, verified.keys), (0, 3), "{:?}", verified.faults);
    assert!(verified.columns.iter().all(|column| column.older == 0), "{:?}", verified.columns);
    let entries = verified.columns.iter().find(|column| column.table == "audit_entry").unwrap();
    assert!(entries.values > calls, "{entries:?}");
    // everybody is told
    let admin = Filter { kind: Some(Kind::Admin), limit: 100, ..Filter::default() };
    for who in [&operator, &acme] {
        let page = host.audit().list(who, &admin).await.unwrap();
        let said: Vec<String> =
            page.entries.iter().filter_map(|entry| Some(entry.fields.get("detail")?.to_string())).collect();
        for part in ["began: from key ", "finished: key "] {
            assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:#?}");
        }
    }
    host.close().await.unwrap();

    let (opened, closed) = kept.opens(&dir).await;
    assert_eq!(opened, 0, "of {closed} values, the destroyed keys still open some");
    assert!(closed > calls);
    for trace in kept.traces() {
        assert_eq!(found(&data(&dir), &trace), None, "a trace of what was destroyed");
    }
    let host = Host::open(options(&dir)).await.unwrap();
    assert!(host.doctor().await.iter().all(|finding| finding.status != opsiq_gate::FindingStatus::Fail));
    host.close().await.unwrap();
}

/// The state between two steps, made by hand: a second key is stored and nothing has been moved yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_cut_off_after_its_first_step_is_noticed_and_goes_on() {
    let dir = three().await;
    let before = kept(&dir).await;
    let store = Store::open(&data(&dir)).await.unwrap();
    let vault = Vault::open(&before.root, &before.check).unwrap();
    let acme = tenant("acme");
    let next = vault.successor(&acme, &before.keys[0].1[0]).unwrap();
    store.tenant_key_insert(&acme, &next, 1).await.unwrap();
    store.close().await;

    let host = Host::open(options(&dir)).await.unwrap();
    let operator = Actor::operator();
    let rotation = |findings: Vec<opsiq_gate::Finding>| {
        findings.into_iter().find(|finding| finding.check == "key rotation").unwrap()
    };
    assert!(rotation(host.doctor().await).fix.contains("--tenant acme"));
    let verified = host.master_keys().verify(&operator, &quiet).await.unwrap();
    assert!(verified.faulty == 0 && verified.columns.iter().any(|column| column.older > 0));
    let done = host.master_keys().rotate_tenant(&operator, &acme, &quiet).await.unwrap();
    assert!(done.resumed && done.generation == 2 && done.destroyed == [before.keys[0].1[0].id().to_string()]);
    let verified = host.master_keys().verify(&operator, &quiet).await.unwrap();
    assert!(verified.faulty == 0 && verified.columns.iter().all(|column| column.older == 0));
    assert!(rotation(host.doctor().await).fix.is_empty());
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_rotates_and_only_what_there_is() {
    let world = World::new().await;
    let (keys, olga) = (world.host.master_keys(), Actor::user(tenant("acme"), "olga"));
    for refusal in [
        keys.rotate_tenant(&olga, &tenant("acme"), &quiet).await.unwrap_err(),
        keys.rotate_root(&olga).await.unwrap_err(),
        keys.verify(&olga, &quiet).await.unwrap_err(),
    ] {
        assert_eq!(refusal.class, Class::Denied);
    }
    let refusal = keys.rotate_tenant(&Actor::operator(), &tenant("nobody"), &quiet).await.unwrap_err();
    assert_eq!(refusal.class, Class::NotFound);
}

fn text(key: &RootKey) -> RootSource {
    RootSource::Text(Arc::new(Secret::from(key.to_text().as_bytes().to_vec())))
}

async fn refused(options: HostOptions) -> opsiq_gate::Refusal {
    Host::open(options).await.expect_err("it must stay sealed")
}

async fn status(options: &HostOptions) -> KeyStatus {
    Host::key_status(options).await.unwrap()
}

/// A root key given as text: the operator holds both, the host moves what is under them.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_given_as_text_rotates_to_the_one_given_beside_it() {
    let dir = TempDir::new().unwrap();
    let (old, new) = (RootKey::generate(), RootKey::generate());
    let of = |root: &RootKey, next: Option<&RootKey>| HostOptions {
        root: text(root),
        next_root: next.map(text),
        ..options(&dir)
    };
    Host::init(of(&old, None)).await.unwrap();
    let operator = Actor::operator();
    let host = Host::open(of(&old, None)).await.unwrap();
    let create = |name: &str| NewTenant { id: tenant(name), title: name.to_owned(), owner: "olga".to_owned() };
    for at in 0..3 {
        host.tenants().create(&operator, create(&format!("tenant-{at}"))).await.unwrap();
    }
    assert_eq!(&*host.master_keys().rotate_root(&operator).await.unwrap_err().code, "root.next-missing");
    host.close().await.unwrap();

    // Half done, as if stopped: one tenant's key is under the new root key, and it is noted that it began.
    let store = Store::open(&data(&dir)).await.unwrap();
    let vault = Vault::open(&old, &store.root_check().await.unwrap().unwrap()).unwrap();
    let foreign = Vault::create(&RootKey::generate()).0.new_tenant_key(&tenant("zz-broken"));
    store.tenant_key_insert(&tenant("zz-broken"), &foreign, 1).await.unwrap();
    vault.wrap_with(&new);
    assert_eq!(store.rewrap_keys(&vault, 1).await.unwrap().stuck, [tenant("zz-broken")]);
    store.tenant_keys_destroy(&tenant("zz-broken")).await.unwrap();
    store.close().await;
    for (alone, other) in [(&old, &new), (&new, &old)] {
        let refusal = refused(of(alone, None)).await;
        assert_eq!((&*refusal.code, refusal.class), ("root.wrong", Class::Denied));
        for id in [alone.id().to_string(), other.id().to_string()] {
            assert!(refusal.message.contains(&id), "{}", refusal.message);
        }
    }
    let half = status(&of(&old, None)).await;
    assert!(half.sealed && half.rotating_to == Some(new.id().to_string()), "{half:?}");
    assert!(status(&of(&new, Some(&old))).await.why.is_none());

    // Given both, whichever is first, it opens, and goes on by itself.
    let host = Host::open(of(&new, Some(&old))).await.unwrap();
    assert_eq!(host.tenants().list(&operator).await.unwrap().len(), 3);
    host.close().await.unwrap();
    let after = status(&of(&new, None)).await;
    assert!(!after.sealed && after.rotating_to.is_none() && after.expected_root == new.id().to_string());
    assert!(after.tenants.iter().flat_map(|t| &t.keys).all(|key| key.root == Some(new.id().to_string())));
    assert!(refused(of(&old, None)).await.message.contains(&new.id().to_string()));

    // And once more, whole, by the act.
    let third = RootKey::generate();
    let host = Host::open(of(&new, Some(&third))).await.unwrap();
    let done = host.master_keys().rotate_root(&operator).await.unwrap();
    assert_eq!((done.from, done.to, done.file), (new.id().to_string(), third.id().to_string(), None));
    assert_eq!(&*host.master_keys().rotate_root(&operator).await.unwrap_err().code, "root.same");
    host.tenants().create(&operator, create("born-after")).await.unwrap();
    host.close().await.unwrap();
    let host = Host::open(of(&third, None)).await.unwrap();
    assert_eq!(host.tenants().list(&operator).await.unwrap().len(), 4);
    host.close().await.unwrap();
}

/// The three states a root key's files can be left in by a process that ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_in_a_file_is_replaced_there_whatever_it_was_stopped_at() {
    let dir = three().await;
    let (file, next) = (data(&dir).join("root.key"), data(&dir).join("root.key.next"));
    let id = |path: &Path| RootKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap().id().to_string();
    // The next key lies there, and nothing was moved.
    let first = id(&file);
    let made = MasterKeys::generate_root(&next).unwrap();
    Host::open(options(&dir)).await.unwrap().close().await.unwrap();
    assert!(made != first && id(&file) == made && !next.exists());
    assert_eq!(status(&options(&dir)).await.expected_root, made);

    // Everything was moved, and the file was not replaced.
    MasterKeys::generate_root(&next).unwrap();
    let (old, new) = (std::fs::read(&file).unwrap(), std::fs::read(&next).unwrap());
    Host::open(options(&dir)).await.unwrap().close().await.unwrap();
    std::fs::write(&file, old).unwrap();
    assert_eq!(&*refused(options(&dir)).await.code, "root.wrong");
    MasterKeys::generate_root(&next).unwrap();
    std::fs::write(&next, &new).unwrap();
    let host = Host::open(options(&dir)).await.unwrap();
    assert_eq!(host.tenants().list(&Actor::operator()).await.unwrap().len(), 3);
    host.close().await.unwrap();
    assert!(std::fs::read(&file).unwrap() == new && !next.exists());

    // A key that others may read is not taken, and the one in use is not touched.
    MasterKeys::generate_root(&next).unwrap();
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(&*refused(options(&dir)).await.code, "root.exposed");
    assert_eq!(std::fs::read(&file).unwrap(), new);
}
