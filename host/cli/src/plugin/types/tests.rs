use opsiq_contract::Contract;

use super::*;

const CONTRACT: &str = r##"
contract = 1
[plugin]
id = "t"
version = "0.1.0"
kind = "connector"
title = "T"
summary = "T."
publisher = "p"

[[http]]
name = "h"
methods = ["GET"]
url = "https://a.example.com/"

[[key]]
name = "secret"
purpose = "Checks events."
use = ["verify"]

[[webhook]]
name = "new-orders"
scheme = "stripe"
key = "secret"

[config]
type = "object"
required = ["base-url"]
properties = { base-url = { type = "string" } }

[[action]]
name = "list-orders"
title = "List orders"
effect = "read"
scope = "orders:read"
roles = ["owner"]
http = ["h"]
[action.params]
type = "object"
required = ["state"]
[action.params.properties]
state = { enum = ["open", "closed"], description = "Which ones." }
cursor = { type = ["string", "null"] }
limit = { type = "integer", minimum = 1 }
[action.result]
type = "object"
required = ["orders", "by-name"]
properties = { orders = { type = "array", items = { "$ref" = "#/$defs/order" } }, by-name = { type = "object", additionalProperties = { type = "number" } } }
[action.result."$defs".order]
type = "object"
required = ["id"]
properties = { id = { type = "string" }, buyer = { type = "object", properties = { name = { type = "string" } } } }
"##;

fn shapes() -> Shapes {
    Shapes::of(&Contract::parse_toml(CONTRACT).unwrap_or_else(|errors| panic!("{errors}")))
}

#[test]
fn typescript_says_what_the_contract_says() {
    let text = typescript::write(&shapes());
    for line in [
        "export interface Config {\n  \"base-url\": string;\n}",
        "  /** Which ones. */\n  state: \"open\" | \"closed\";",
        "  cursor?: string | null;",
        "  limit?: number;",
        "  orders: Array<Order>;",
        "  \"by-name\": Record<string, number>;",
        "export interface OrderBuyer {\n  name?: string;\n}",
        "  buyer?: OrderBuyer;",
        "export type Context = AnyContext<Config>;",
        "  listOrders(ctx: Context, params: ListOrdersParams): ListOrdersResult | Promise<ListOrdersResult>;",
        "  newOrders(ctx: Context, delivery: Delivery): void | Promise<void>;",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn python_says_what_the_contract_says() {
    let text = python::write(&shapes());
    for line in [
        "Config = TypedDict(\"Config\", {\n    \"base-url\": \"str\",\n})",
        "    state: \"Literal[\\\"open\\\", \\\"closed\\\"]\"  # Which ones.",
        "    cursor: \"NotRequired[str | None]\"",
        "    \"by-name\": \"dict[str, float]\",",
        "    buyer: \"NotRequired[OrderBuyer]\"",
        "Context = AnyContext[Config]",
        "    def list_orders(self, ctx: Context, params: \"ListOrdersParams\") -> \"ListOrdersResult\":",
        "    def new_orders(self, ctx: Context, delivery: Delivery) -> None:",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_recursive_definition_ends() {
    let contract = CONTRACT.replace(
        "buyer = { type = \"object\", properties = { name = { type = \"string\" } } }",
        "parts = { type = \"array\", items = { \"$ref\" = \"#/$defs/order\" } }",
    );
    let text = typescript::write(&Shapes::of(&Contract::parse_toml(&contract).unwrap()));
    assert!(text.contains("export interface Order {") && text.contains("  parts?: Array<Order>;"), "{text}");
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let contract = Contract::parse_toml(CONTRACT).unwrap();
    let files = write(dir.path(), Language::JavaScript, &contract).unwrap();
    let times = || files.iter().map(|file| std::fs::metadata(file).unwrap().modified().unwrap()).collect::<Vec<_>>();
    let before = times();
    assert_eq!((files.len(), &write(dir.path(), Language::JavaScript, &contract).unwrap()), (2, &files));
    assert_eq!(times(), before);
    assert_eq!(write(dir.path(), Language::Rust, &contract).unwrap(), Vec::<PathBuf>::new());
    assert!(std::fs::read_to_string(&files[1]).unwrap().contains("declare module '@opsiq/sdk' {"));
}
