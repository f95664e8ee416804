//! The commands about people and roles, as a person or a script uses them.

use crate::opsiq::{World, guest};

fn world() -> World {
    let world = World::new();
    let created = world.run(&["tenant", "create", "acme", "--owner", "ada"]).ok();
    assert_eq!((created["id"].as_str(), created["invitation"]["user"].as_str()), (Some("acme"), Some("ada")));
    assert!(created["invitation"]["token"].as_str().unwrap().starts_with("inv.acme."));
    world
}

const ADA: [&str; 2] = ["--as", "acme/ada"];

fn ada<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&ADA[..], words].concat()
}

#[test]
fn the_first_owner_is_invited_by_the_operator_and_others_by_an_owner() {
    let world = world();
    let again = world.run(&["tenant", "invite", "acme"]).ok();
    assert_eq!(again["user"], "ada");
    world.run(&["tenant", "invite", "nowhere"]).refused(5);
    world.run(&ada(&["tenant", "invite", "acme"])).refused(3);
    let eve = world.run(&ada(&["user", "invite", "eve", "--role", "admin"])).ok();
    assert!(eve["token"].as_str().unwrap().starts_with("inv.acme."));
    world.run(&["--as", "acme/eve", "user", "invite", "mallory", "--role", "owner"]).refused(3);
    world.run(&ada(&["user", "invite", "nobody"])).refused(5);
    let users = world.run(&ada(&["user", "list"])).ok();
    assert_eq!(users.as_array().unwrap().len(), 2);
    assert_eq!((&users[1]["name"], &users[1]["enrolled"]), (&"eve".into(), &false.into()));
    assert!(world.run(&ada(&["user", "sessions", "eve"])).ok().as_array().unwrap().is_empty());
    assert_eq!(world.run(&ada(&["user", "revoke", "eve"])).ok()["ended"], 0);
    world.run(&ada(&["user", "revoke", "eve", "--session", "none"])).refused(5);
    let reset = world.run(&ada(&["user", "reset-2fa", "eve"])).ok();
    assert_ne!(reset["token"], eve["token"]);
    // A token is shown once: no file holds one, and no list.
    let shown = world.run(&ada(&["audit", "list"])).stdout + &world.run(&["audit", "list"]).stdout;
    for token in [&again["token"], &eve["token"], &reset["token"]] {
        let token = token.as_str().unwrap().rsplit('.').next().unwrap();
        assert!(!crate::canary::find(shown.as_bytes(), token));
        for file in crate::admission::files(world.data()) {
            assert!(!crate::canary::find(&std::fs::read(&file).unwrap(), token), "{}", file.display());
        }
    }
}

/// Where a rule leads is part of the grant, whatever it is changed by.
#[test]
fn who_may_set_the_config_but_not_the_grant_changes_no_origin() {
    let world = World::new();
    world.install(&guest("orders"), "shop", &[("base-url", "https://shop.example.com/v1")], &[]);
    let acts = ["--act", "connector config", "--act", "connector show"];
    world.run(&ada(&[&["role", "create", "setter", "--base", "admin"][..], &acts].concat())).ok();
    world.run(&ada(&["user", "add", "eve", "--role", "support"])).ok();
    world.run(&ada(&["user", "role", "eve", "setter"])).ok();
    let set = |who: &str, url: &str| {
        world.run(&["--as", who, "connector", "config", "shop", "--config", &format!("base-url={url}")])
    };
    set("acme/eve", "https://shop.example.com/v2").ok();
    let elsewhere = "https://shop.example.net/v2";
    assert_eq!(set("acme/eve", elsewhere).refused(3)["code"], "role.narrowed");
    set("acme/ada", elsewhere).ok();
    let log = world.run(&ada(&["audit", "list"])).stdout;
    assert!(log.contains("https://shop.example.net"), "where it leads now is told: {log}");
}

#[test]
fn custom_roles_are_made_given_and_removed() {
    let world = world();
    let words = ["role", "create", "clerk", "--base", "admin", "--scope", "orders:read", "--act", "connector list"];
    let made = world.run(&ada(&words)).ok();
    assert_eq!((&made["name"], &made["base"]), (&"clerk".into(), &"admin".into()));
    assert_eq!(world.run(&ada(&words)).refused(3)["code"], "role.exists");
    let wider = [&words[..], &["--replace", "--action", "opsiq/orders/*", "--confirm-writes"]].concat();
    assert_eq!(world.run(&ada(&wider)).ok()["confirm_writes"], true);
    assert_eq!(
        world.run(&ada(&["role", "create", "owner", "--base", "admin", "--scope", "a:b"])).refused(6)["code"],
        "role.invalid"
    );
    world.run(&ada(&["user", "add", "eve", "--role", "support"])).ok();
    let eve = world.run(&ada(&["user", "role", "eve", "clerk"])).ok();
    assert_eq!((&eve["role"], &eve["custom"]), (&"admin".into(), &"clerk".into()));
    world.run(&["--as", "acme/eve", "connector", "list"]).ok();
    assert_eq!(world.run(&["--as", "acme/eve", "user", "list"]).refused(3)["code"], "role.narrowed");
    assert_eq!(world.run(&ada(&["role", "remove", "clerk"])).refused(3)["code"], "role.in-use");
    assert_eq!(world.run(&ada(&["user", "role", "eve", "nothing"])).refused(5)["code"], "role.unknown");
    world.run(&ada(&["user", "role", "eve", "support"])).ok();
    assert_eq!(world.run(&ada(&["role", "list"])).ok().as_array().unwrap().len(), 1);
    assert_eq!(world.run(&ada(&["role", "show", "clerk"])).ok()["scopes"][0], "orders:read");
    world.run(&ada(&["role", "remove", "clerk"])).ok();
    world.run(&ada(&["role", "show", "clerk"])).refused(5);
}
