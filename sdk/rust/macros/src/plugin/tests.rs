use serde_json::json;

use super::*;

fn action(name: &str) -> Action {
    let object = json!({ "type": "object", "properties": { "id": { "type": "string" } } });
    Action { name: name.into(), title: "T".into(), effect: "read".into(), params: object.clone(), result: object }
}

fn generated(contract: &Contract) -> Result<String, String> {
    generate(contract, Path::new("/c.toml")).map(|tokens| tokens.to_string().replace(' ', ""))
}

#[test]
fn each_action_is_a_method_and_an_arm() {
    let contract = Contract { actions: vec![action("get-order"), action("list")], webhooks: Vec::new(), config: None };
    let code = generated(&contract).unwrap();
    for part in [
        "fnget_order(ctx:&Context,params:GetOrderParams)->::core::result::Result<GetOrderResult,::opsiq_sdk::Failure>;",
        r#""get-order"=>::opsiq_sdk::rt::run(&params,<PluginasActions>::get_order),"#,
        "fnlist(ctx:&Context,params:ListParams)",
        "pubtypeContext=::opsiq_sdk::Context<::opsiq_sdk::NoConfig>;",
    ] {
        assert!(code.contains(part), "{part} is not in {code}");
    }
    assert!(!code.contains("Webhooks"), "{code}");
}

#[test]
fn webhooks_and_config_appear_where_declared() {
    let config =
        json!({ "type": "object", "required": ["base-url"], "properties": { "base-url": { "type": "string" } } });
    let contract =
        Contract { actions: vec![action("get")], webhooks: vec!["order-events".into()], config: Some(config) };
    let code = generated(&contract).unwrap();
    assert!(code.contains("fnorder_events(ctx:&Context,delivery:::opsiq_sdk::Delivery)"), "{code}");
    assert!(code.contains(r#""order-events"=><PluginasWebhooks>::order_events(&ctx,delivery),"#), "{code}");
    assert!(code.contains("pubtypeContext=::opsiq_sdk::Context<Config>;"), "{code}");
    assert!(code.contains("pubbase_url:::std::string::String"), "{code}");
}

#[test]
fn a_mistake_names_the_action_and_the_side() {
    let mut wrong = action("get");
    wrong.result = json!({ "$ref": "#/$defs/none" });
    let contract = Contract { actions: vec![wrong], webhooks: Vec::new(), config: None };
    let message = generated(&contract).unwrap_err();
    assert!(message.starts_with("action `get`: result:"), "{message}");
}
