//! Administrative acts: who may, what they refuse, and that each is on record.

use opsiq_audit::export::Range;
use opsiq_audit::{Filter, Format, Kind};
use opsiq_contract::{Permission, Role};
use opsiq_gate::{Actor, Class, FindingStatus, Host, KeyState, NewTenant, RootSource};
use opsiq_vault::Secret;

use crate::world::{PLUGIN, SECRET, World, acme, call, data, options, plugin, request, secret, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_exposed_root_key_opens_nothing() {
    let world = World::new().await;
    world.host.close().await.unwrap();
    let other = tempfile::TempDir::new().unwrap();
    Host::init(options(&other)).await.unwrap();
    let mut wrong = options(&world.dir);
    wrong.root = RootSource::File(data(&other).join("root.key"));
    let refusal = Host::open(wrong).await.err().unwrap();
    assert_eq!(&*refusal.code, "root.wrong");
    let root = data(&world.dir).join("root.key");
    let mode = |mode| std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    assert_eq!(&*Host::open(options(&world.dir)).await.err().unwrap().code, "root.exposed");
    mode(0o600);
    let host = Host::open(options(&world.dir)).await.unwrap();
    assert_eq!(&*Host::open(options(&world.dir)).await.err().unwrap().code, "data.locked");
    host.close().await.unwrap();
    assert_eq!(&*Host::init(options(&world.dir)).await.err().unwrap().code, "data.initialised");
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_are_for_those_who_may_and_refusals_are_on_record() {
    let world = World::new().await;
    let (host, sam, adam) = (&world.host, acme("sam"), acme("adam"));
    let denied = |class: Class| assert_eq!(class, Class::Denied);
    denied(host.users().add(&adam, "eve", Role::Owner).await.unwrap_err().class);
    denied(host.installations().install(&sam, &request("mine")).await.unwrap_err().class);
    denied(host.keys().set(&sam, "echo", "api-key", secret()).await.unwrap_err().class);
    denied(host.keys().list(&sam, "echo").await.unwrap_err().class);
    denied(host.audit().list(&adam, &Filter::default()).await.unwrap_err().class);
    denied(host.audit().export(&adam, Format::Jsonl, &Range::ALL).await.err().unwrap().class);
    denied(host.tenants().list(&acme("olga")).await.unwrap_err().class);
    denied(host.catalogue().register(&acme("olga"), PLUGIN.clone()).await.unwrap_err().class);
    denied(host.users().list(&acme("olga").limited_to(["x:y".to_owned()].into())).await.unwrap_err().class);
    denied(host.installations().list(&Actor::operator()).await.unwrap_err().class);
    assert_eq!(world.entries(Kind::Refused).await, 7);
    let of_host = Filter { kind: Some(Kind::Refused), ..Filter::default() };
    assert_eq!(host.audit().list(&Actor::operator(), &of_host).await.unwrap().entries.len(), 2);
}

/// Whether there is such a user or role is told to nobody who may not change them.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_nothing_of_what_is_there() {
    let world = World::new().await;
    let users = world.host.users();
    for (user, role) in [("sam", "clerk"), ("nobody", "clerk"), ("nobody", "support")] {
        let assigned = users.assign(&acme("adam"), user, role).await.unwrap_err();
        let invited = users.invite(&acme("adam"), user, Some(role)).await.unwrap_err();
        for refusal in [assigned, invited] {
            assert_eq!(refusal.code, "role.not-allowed", "{user} {role}");
        }
    }
    assert_eq!(users.assign(&acme("olga"), "sam", "clerk").await.unwrap_err().code, "role.unknown");
    assert_eq!(users.invite(&acme("olga"), "nora", Some("clerk")).await.unwrap_err().code, "role.unknown");
    assert_eq!(users.list(&acme("olga")).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_enabled_owner_remains() {
    let world = World::new().await;
    let users = world.host.users();
    let (olga, adam) = (acme("olga"), acme("adam"));
    assert_eq!(&*users.disable(&olga, "olga").await.unwrap_err().code, "user.last-owner");
    assert_eq!(&*users.set_role(&olga, "olga", Role::Admin).await.unwrap_err().code, "user.last-owner");
    users.set_role(&olga, "adam", Role::Owner).await.unwrap();
    let (a, b) = tokio::join!(users.disable(&olga, "adam"), users.disable(&adam, "olga"));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let left = if a.is_ok() { &olga } else { &adam };
    assert_eq!(&*users.add(left, "sam", Role::Support).await.unwrap_err().code, "user.exists");
}

/// Looking at a component is an act: by whom, how large, and on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_inspected_by_those_who_may_and_on_record() {
    let world = World::new().await;
    let catalogue = world.host.catalogue();
    let seen = catalogue.inspect(&acme("adam"), PLUGIN.clone()).await.unwrap();
    assert!(seen.acceptable && seen.plugin.unwrap().to_string() == "opsiq/echo@0.1.0");
    assert!(!catalogue.inspect(&Actor::operator(), b"\0asm".to_vec()).await.unwrap().acceptable);
    assert_eq!(&*catalogue.inspect(&acme("sam"), PLUGIN.clone()).await.unwrap_err().code, "role.not-allowed");
    assert_eq!(&*catalogue.inspect(&acme("eve"), PLUGIN.clone()).await.unwrap_err().code, "caller.unknown");
    let large = vec![0; usize::try_from(opsiq_contract::DEFAULT_COMPONENT_BYTES).unwrap() + 1];
    assert_eq!(&*catalogue.inspect(&acme("olga"), large).await.unwrap_err().code, "plugin.too-large");
    let inspected =
        |entries: Vec<String>| entries.iter().filter(|entry| entry.contains("action=plugin inspect")).count();
    assert_eq!(inspected(world.fields(Kind::Read).await), 1);
    assert_eq!(inspected(world.fields(Kind::Refused).await), 2);
    let of_host = Filter { kind: Some(Kind::Read), ..Filter::default() };
    let read = world.host.audit().list(&Actor::operator(), &of_host).await.unwrap();
    let inspect = |entry: &&opsiq_audit::View| entry.fields.values().any(|value| value.to_string() == "plugin inspect");
    assert_eq!(read.entries.iter().filter(inspect).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_names_each_version_once_and_says_why_not() {
    let world = World::new().await;
    let (catalogue, operator) = (world.host.catalogue(), Actor::operator());
    assert!(!catalogue.register(&operator, PLUGIN.clone()).await.unwrap().new);
    let contract = include_str!("contract.toml");
    let other = plugin(&contract.replace("Answers what it is asked.", "Answers something else."));
    assert_eq!(&*catalogue.register(&operator, other).await.unwrap_err().code, "plugin.version-taken");
    let newer = plugin(&contract.replace("version = \"0.1.0\"", "version = \"0.10.0\""));
    assert!(catalogue.register(&operator, newer).await.unwrap().new);
    for selector in ["echo", "opsiq/echo", "opsiq/echo@0.10.0"] {
        assert_eq!(catalogue.find(selector).await.unwrap().plugin.version.to_string(), "0.10.0", "{selector}");
    }
    let first = catalogue.find("opsiq/echo@0.1.0").await.unwrap();
    assert_eq!(catalogue.find(&first.digest.to_string()).await.unwrap().plugin, first.plugin);
    assert!(catalogue.find("ecco").await.unwrap_err().fix.contains("`echo`"));
    let refusal = catalogue.register(&operator, b"not a component".to_vec()).await.unwrap_err();
    assert_eq!((&*refusal.code, refusal.exit_code()), ("component.inadmissible", 6));
    assert!(!refusal.faults.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_narrow_and_widen_within_the_contract() {
    let world = World::new().await;
    let (installations, olga) = (world.host.installations(), acme("olga"));
    let plan = installations.plan(&olga, &request("second")).await.unwrap();
    let titles: Vec<_> = plan.groups.iter().map(|group| group.title.as_str()).collect();
    assert!(titles[0].contains("approves") && plan.needs_keys == ["api-key"], "{titles:?}");
    let look = [Permission::Action("look".to_owned())];
    let view = installations.change_grant(&olga, "echo", &[], &look).await.unwrap();
    assert_eq!((view.revision, view.withheld), (2, vec!["action:look".to_owned()]));
    let refusal = world.refused("olga", call("look", r#"{"id":"7"}"#)).await;
    assert!(refusal.fix.contains("action:look"), "{}", refusal.fix);
    installations.change_grant(&olga, "echo", &look, &[]).await.unwrap();
    assert!(world.invoke("olga", call("look", r#"{"id":"7"}"#)).await.is_ok());
    let beyond = [Permission::Http("lok".to_owned())];
    assert_eq!(&*installations.change_grant(&olga, "echo", &beyond, &[]).await.unwrap_err().code, "grant.not-asked");
    let config = serde_json::json!({ "x": 1 });
    assert_eq!(&*installations.set_config(&olga, "echo", &config).await.unwrap_err().code, "config.invalid");
    assert_eq!(&*installations.install(&olga, &request("echo")).await.unwrap_err().code, "installation.exists");
    assert_eq!(installations.pause(&olga, "echo").await.unwrap().state, "paused");
    assert_eq!(&*world.refused("olga", call("look", r#"{"id":"7"}"#)).await.code, "installation.paused");
    installations.remove(&olga, "echo").await.unwrap();
    assert_eq!(&*world.refused("olga", call("look", r#"{"id":"7"}"#)).await.code, "installation.unknown");
    assert!(installations.list(&olga).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_in_and_never_comes_out() {
    let world = World::new().await;
    let (keys, olga) = (world.host.keys(), acme("olga"));
    assert_eq!(&*keys.set(&olga, "echo", "api-key", secret()).await.unwrap_err().code, "key.is-set");
    assert_eq!(&*keys.rotate(&olga, "echo", "api-key", secret()).await.unwrap_err().code, "key.same");
    let short = Secret::from(b"short".to_vec());
    assert_eq!(&*keys.rotate(&olga, "echo", "api-key", short).await.unwrap_err().code, "key.too-short");
    assert!(keys.set(&olga, "echo", "api-kay", secret()).await.unwrap_err().fix.contains("`api-key`"));
    let next = Secret::from(b"the next value of the key".to_vec());
    let view = keys.rotate(&olga, "echo", "api-key", next).await.unwrap();
    let states: Vec<_> = view.versions.iter().map(|version| (version.version, version.state)).collect();
    assert_eq!(states, [(2, KeyState::Current), (1, KeyState::Verifying)]);
    assert_ne!(view.versions[0].fingerprint, view.versions[1].fingerprint);
    keys.retire(&olga, "echo", "api-key", 1).await.unwrap();
    assert_eq!(&*keys.retire(&olga, "echo", "api-key", 1).await.unwrap_err().code, "key.version-unknown");
    let listed = serde_json::to_string(&keys.list(&olga, "echo").await.unwrap()).unwrap();
    assert!(listed.contains("retired") && !listed.contains("value of the key"));

    world.invoke("sam", call("look", r#"{"id":"canary-of-a-parameter"}"#)).await.unwrap();
    world.host.close().await.unwrap();
    let mut files = vec![data(&world.dir)];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for canary in [SECRET, "the next value of the key", "canary-of-a-parameter"] {
            for form in [canary.to_owned(), hex::encode(canary)] {
                assert!(
                    !bytes.windows(form.len()).any(|window| window == form.as_bytes()),
                    "{form} in {}",
                    path.display()
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_host_has_nothing_to_mend() {
    let world = World::new().await;
    world.done("sam", call("look", r#"{"id":"7"}"#)).await;
    world.pending("adam", call("refund", r#"{"id":"7","amount":1}"#)).await;
    let findings = world.host.doctor().await;
    let failed: Vec<_> = findings.iter().filter(|finding| finding.status == FindingStatus::Fail).collect();
    assert!(failed.is_empty(), "{failed:?}");
    for check in ["root key", "disk space", "plugin files", "sealed rows", "audit log", "interrupted calls"] {
        assert!(findings.iter().any(|finding| finding.check == check), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_made_once_and_owners_export_what_verifies() {
    let world = World::new().await;
    let new = NewTenant { id: tenant("acme"), title: "Again".to_owned(), owner: "eve".to_owned() };
    assert_eq!(&*world.host.tenants().create(&Actor::operator(), new).await.unwrap_err().code, "tenant.exists");
    world.done("sam", call("change", r#"{"id":"7"}"#)).await;
    let (audit, olga) = (world.host.audit(), acme("olga"));
    let mut export = audit.export(&olga, Format::Jsonl, &Range::ALL).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = export.next().await.unwrap() {
        bytes.extend(piece);
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("audit export") && text.contains("user:sam"), "the export itself is an entry");
}
