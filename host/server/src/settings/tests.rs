use super::*;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Refusal> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(text, environment)
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[confirmation]\nexpires-after = \"1min\"\n[server]\nidle = \"5s\"\nstreams = 7\n";
    let settings = read(text, &[("OPSIQ_SERVER__IDLE", "9s"), ("OPSIQ_DATA", "x")]).unwrap();
    assert_eq!(settings.idle, Duration::from_secs(9));
    assert_eq!(settings.streams, 7);
    assert_eq!(settings.listen.port(), 8443);
    let origin = |key: &str| settings.explained().iter().find(|one| one.key == key).unwrap().origin.clone();
    assert_eq!(origin("server.idle"), Origin::Environment { name: "OPSIQ_SERVER__IDLE".to_owned() });
    assert_eq!(origin("server.streams"), Origin::File { line: 5 });
    assert_eq!(origin("server.listen"), Origin::Default);
    assert_eq!(settings.explained().len(), keys().count());
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, environment, says) in [
        ("[server]\nidel = \"5s\"\n", None, "opsiq.toml:2"),
        ("[server]\nidle = 5\n", None, "line 2"),
        ("[server]\nidle = \"5\n", None, "opsiq.toml:2"),
        ("server = 1\n", None, "opsiq.toml:1"),
        ("[server]\nstreams = true\n", None, "opsiq.toml:2"),
        ("", Some(("OPSIQ_SERVER__STREAMS", "0")), "OPSIQ_SERVER__STREAMS"),
        ("", Some(("OPSIQ_SERVER__STREEMS", "1")), "OPSIQ_SERVER__STREEMS"),
        ("[server]\ntls-key = \"/k\"\n", None, "tls-certificate"),
        ("[server]\npublic-url = \"http://a\"\n", None, "public-url"),
        ("[server]\nacme-contact = \"a@b.example\"\n", None, "acme-directory"),
        ("[server]\nacme-directory = \"http://ca.example/\"\n", None, "must be the https URL"),
        ("[server]\nacme-directory = \"https://ca.example/\"\n", None, "accept them"),
        ("[server]\nacme-directory = \"https://ca.example/\"\n", None, "one mail address"),
        ("[server]\nacme-directory = \"https://ca.example/\"\n", None, "for host names alone"),
        ("[server]\nacme-accept-terms = \"yes\"\n", None, "true or false"),
        ("[server]\npublic-url = \"https://a/b\"\n", None, "public-url"),
        ("[server]\nlisten = \"localhost\"\n", None, "listen"),
        ("[server]\ntrusted-proxies = [\"10.0.0.1/8\"]\n", None, "did you mean 10.0.0.0/8"),
        ("[server]\nforwarded-header = \"x-real-ip\"\n", None, "x-forwarded-for or forwarded"),
        ("[server]\nlimit-reads = \"address many\"\n", None, "limit-reads"),
        ("", Some(("OPSIQ_SERVER__LIMIT_SIGN_IN", "street 5/s")), "OPSIQ_SERVER__LIMIT_SIGN_IN"),
        ("[server]\nscore-slow = 101\n", None, "score-slow"),
    ] {
        let refusal = read(text, environment.as_slice()).unwrap_err();
        let told = format!("{refusal}");
        assert!(told.contains(says), "{text} {environment:?}: {told}");
    }
}

#[test]
fn an_authority_is_named_with_all_that_it_needs_and_for_names_alone() {
    let text = "[server]\nacme-directory = \"https://ca.example/dir\"\nacme-contact = \"ops@example.com\"\n\
                acme-accept-terms = true\n";
    let named = |names: &str| read(&format!("{text}tls-names = [{names}]\n"), &[]);
    let acme = named("\"api.example.com\"").unwrap().acme.unwrap();
    assert_eq!((acme.contact.as_str(), acme.root), ("mailto:ops@example.com", None));
    for wrong in ["\"*.example.com\"", "\"192.0.2.1\"", "\"a.example\", \"::1\""] {
        assert!(format!("{}", named(wrong).unwrap_err()).contains("for host names alone"), "{wrong}");
    }
}

#[test]
fn a_limit_that_is_not_named_keeps_its_default() {
    use opsiq_shield::{Class, Scope};
    let settings = read("[server]\nlimit-sign-in = [\"address 5/min\", \"tenant off\"]\n", &[]).unwrap();
    let rate = |scope| settings.shield.rates.of(Class::SignIn, scope).map(|rate| rate.to_string());
    assert_eq!(rate(Scope::Address).as_deref(), Some("5/min"));
    assert_eq!((rate(Scope::Tenant), rate(Scope::Network).as_deref()), (None, Some("600/min")));
    assert!(settings.shield.rates.of(Class::Writes, Scope::Tenant).is_some());
}
