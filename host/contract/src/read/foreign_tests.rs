use super::tests::check;
use crate::diff::{Risk, diff};
use crate::sample::{PROGRAM, SERVICE, SHOP};
use crate::{Call, Ceiling, Contract, World};

#[test]
fn components_made_elsewhere_are_read_whole() {
    for text in [SERVICE, PROGRAM] {
        let contract = Contract::parse_toml(text).unwrap_or_else(|errors| panic!("{errors}"));
        let again = Contract::from_canonical_json(&contract.canonical_json()).unwrap();
        assert_eq!(again, contract);
    }
    let service = Contract::parse_toml(SERVICE).unwrap();
    assert_eq!(service.plugin.world, Some(World::Proxy));
    assert!(matches!(&service.actions[0].call, Some(Call::Request(request)) if request.query == ["limit"]));
    let program = Contract::parse_toml(PROGRAM).unwrap();
    assert!(matches!(&program.actions[0].call, Some(Call::Command(command)) if command.args.len() == 2));
    assert_eq!(program.actions[1].call, None);
}

#[test]
fn every_mistake_in_a_request_names_its_line() {
    let request = "request = { method = \"GET\", path = \"/{config.region}/things/{id}\", query = [\"limit\"] }";
    check(
        SERVICE,
        &[
            ("wasi:http/proxy@0.2", "wasi:http/proxy@0.3", 9, "plugin.world", "field.value"),
            ("world = \"wasi:http/proxy@0.2\"\n", "", 22, "action[0].request", "action.call"),
            ("wasi:http/proxy@0.2", "wasi:cli/command@0.2", 23, "action[0].request", "action.call"),
            (request, "", 16, "action[0]", "action.call"),
            ("method = \"GET\"", "method = \"get\"", 23, "action[0].request.method", "http.method"),
            ("method = \"GET\"", "verb = \"GET\"", 23, "action[0].request.verb", "field.unknown"),
            ("\"/{config.region}/", "\"{config.region}/", 23, "action[0].request.path", "call.path"),
            ("/things/{id}\"", "/things/{id}?a=b\"", 23, "action[0].request.path", "call.path"),
            ("/things/{id}\"", "/things/{id\"", 23, "action[0].request.path", "call.template"),
            ("/things/{id}\"", "/things/ü{id}\"", 23, "action[0].request.path", "call.template"),
            ("/things/{id}\"", "/things/{idd}\"", 23, "action[0].request.path", "call.param"),
            ("/things/{id}\"", "/things\"", 23, "action[0].request", "call.param-unused"),
            ("/things/{id}\"", "/things/{id}/{limit}\"", 23, "action[0].request.query[0]", "call.param"),
            ("{config.region}", "{config.other}", 23, "action[0].request.path", "call.param"),
            ("{config.region}", "{config.none}", 23, "action[0].request.path", "call.param"),
            ("required = [\"id\"], ", "", 23, "action[0].request.path", "call.param"),
            ("id = { type = \"string\" }", "id = { type = \"object\" }", 23, "action[0].request.path", "call.param"),
            (request, &format!("{request}\ncommand = {{ args = [\"a\"] }}"), 24, "action[0].command", "action.call"),
            ("[config]", "[[audit]]\nevent = \"a.b\"\n[config]", 27, "audit", "plugin.world"),
            ("[config]", "[kv]\nmax = \"1KiB\"\n[config]", 27, "kv", "plugin.world"),
        ],
    );
}

#[test]
fn every_mistake_in_a_command_names_its_line() {
    let command = "command = { args = [\"--to\", \"{unit}\"] }";
    check(
        PROGRAM,
        &[
            (command, "command = {}", 17, "action[0].command.args", "field.type"),
            (command, "command = { args = [] }", 17, "action[0].command.args", "field.count"),
            (command, "command = { args = [1] }", 17, "action[0].command.args[0]", "field.type"),
            ("{unit}", "{values}", 17, "action[0].command.args[1]", "call.param"),
            ("{unit}", "{}", 17, "action[0].command.args[1]", "call.template"),
            ("world = \"wasi:cli/command@0.2\"\n", "", 16, "action[0].command", "action.call"),
        ],
    );
}

#[test]
fn another_world_is_a_change_to_look_at() {
    let [service, program] = [SERVICE, PROGRAM].map(|text| Contract::parse_toml(text).unwrap());
    let native = Contract::parse_toml(SHOP).unwrap();
    for (old, new) in [(&native, &service), (&service, &native), (&service, &program)] {
        let changes = diff(old, new);
        assert!(
            changes.iter().any(|change| change.risk == Risk::High && change.text.contains("the world")),
            "{changes:?}"
        );
    }
    let asks = crate::diff::asks(&service);
    assert!(asks[0].risk == Risk::High && asks[0].text.contains("compatibility mode"), "{asks:?}");
}

#[test]
fn the_operator_allows_it_by_name() {
    let service = Contract::parse_toml(SERVICE).unwrap();
    let denial = |text: &str| Ceiling::parse_toml(text, &[]).unwrap().world_denial(&service).map(|denial| denial.code);
    assert_eq!(denial(""), Some("ceiling.wasi-off"));
    assert_eq!(denial("[ceiling.plugin.\"acme/other\"]\nwasi = true"), Some("ceiling.wasi-off"));
    assert_eq!(denial("[ceiling.plugin.\"acme/service\"]\nwasi = false"), Some("ceiling.wasi-off"));
    assert_eq!(denial("[ceiling.plugin.\"acme/service\"]\nwasi = true"), None);
    assert_eq!(Ceiling::default().world_denial(&Contract::parse_toml(SHOP).unwrap()), None);
}
