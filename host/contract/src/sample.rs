//! Contracts that tests share.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    AuthorityRequest, Caller, Ceiling, Contract, Decision, Digest, Grant, InstallState, Installation, Principal, Role,
    Standing, authority,
};

/// The example every reader of the format sees first, its schemas filled in.
pub(crate) const STRIPE: &str = r#"contract = 1
[plugin]
id = "stripe"            # kebab-case, unique per publisher
version = "0.1.0"        # semver
kind = "connector"       # or "action"
title = "Stripe"
summary = "Look up charges and refund them."
publisher = "opsiq"

[[key]]
name = "api-key"
purpose = "Authenticates calls to the Stripe API."
use = ["inject"]         # inject | sign | verify | derive; never "read"

[[key]]
name = "webhook-secret"
purpose = "Checks that events come from Stripe."
use = ["verify"]

[[http]]
name = "refunds"
methods = ["POST"]
url = "https://api.stripe.com/v1/refunds"       # a URL template; {segment} matches one path segment, {rest*} the rest
query = ["expand"]       # the query names allowed; absent means none
inject = { header = "authorization", value = "Bearer {api-key}" }
request-max = "64KiB"
response-max = "1MiB"

[[action]]
name = "refund-charge"
title = "Refund a charge"
effect = "risky-write"   # read | write | risky-write
scope = "refunds:create" # what an API client or an agent must hold
roles = ["owner", "admin"]
http = ["refunds"]
keys = []                # keys it may open itself; injected ones come with the rule
preview = "Refund {amount} {currency} of charge {charge}"
[action.params]          # JSON Schema 2020-12; objects are closed unless they say otherwise
type = "object"
required = ["charge", "amount", "currency"]
[action.params.properties]
charge = { type = "string", pattern = "^ch_[A-Za-z0-9]{1,64}$" }
amount = { type = "integer", minimum = 1 }
currency = { enum = ["eur", "usd"] }
note = { type = "string", maxLength = 200, x-opsiq = "pii" }
[action.result]
type = "object"
required = ["refund"]
properties = { refund = { type = "string" } }

[[webhook]]
name = "events"
scheme = "stripe"        # standard | stripe | github | shopify | slack | a recipe spelled out as data
key = "webhook-secret"

[[audit]]
event = "refund.created"

[kv]
max = "1MiB"

[config]                 # JSON Schema of what the tenant may set; usable in URL templates as {config.name}
type = "object"
properties = { region = { type = "string" } }
[limits]                 # memory, time, fuel, host calls, egress bytes; in force: min(contract or default, ceiling); a ceiling may exceed the defaults
memory = "32MiB"
cpu = "100ms"
"#;

/// A connector to a tenant's own endpoint: every effect, an origin from the config, signing and injecting keys.
pub(crate) const SHOP: &str = r#"contract = 1
[plugin]
id = "shop"
version = "1.2.3"
kind = "connector"
title = "Shop"
summary = "Orders of a shop."
publisher = "acme"

[[key]]
name = "signer"
purpose = "Signs requests."
use = ["sign"]

[[key]]
name = "token"
purpose = "Authenticates requests."
use = ["inject"]

[[http]]
name = "read-orders"
methods = ["GET"]
url = "{config.base-url}/orders/{id}"
inject = { header = "authorization", value = "Bearer {token}" }

[[http]]
name = "search"
methods = ["POST"]
url = "https://search.example.com/v1/query"
safe = true

[[http]]
name = "change-orders"
methods = ["POST", "DELETE"]
url = "{config.base-url}/orders/{id}/{rest*}"
query = ["force"]

[[action]]
name = "get-order"
title = "Get an order"
effect = "read"
scope = "orders:read"
roles = ["owner", "admin", "support"]
http = ["read-orders"]
[action.params]
type = "object"
required = ["id"]
properties = { id = { type = "string", maxLength = 40 } }
[action.result]
type = "object"
additionalProperties = true

[[action]]
name = "find-orders"
title = "Find orders"
effect = "read"
scope = "orders:read"
roles = ["owner", "admin", "support"]
http = ["search"]
result = { type = "array", items = { type = "string" } }

[[action]]
name = "note-order"
title = "Put a note on an order"
effect = "write"
scope = "orders:write"
roles = ["owner", "admin"]
http = ["read-orders", "change-orders"]
keys = ["signer"]
preview = "Note {note} on {id}"
[action.params]
type = "object"
required = ["id", "note"]
properties = { id = { type = "string", x-opsiq = "subject" }, note = { type = "string" } }
[action.result]
type = "null"

[[audit]]
event = "order.noted"

[kv]
max = "64KiB"

[config]
type = "object"
required = ["base-url"]
properties = { base-url = { type = "string" } }
"#;

pub(crate) fn stripe() -> Contract {
    Contract::parse_toml(STRIPE).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn shop() -> Contract {
    Contract::parse_toml(SHOP).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A web service made for WASI.
pub(crate) const SERVICE: &str = r#"contract = 1
[plugin]
id = "service"
version = "0.1.0"
kind = "connector"
title = "Service"
summary = "Made elsewhere."
publisher = "acme"
world = "wasi:http/proxy@0.2"

[[http]]
name = "things"
methods = ["GET"]
url = "https://things.example.com/{id}"

[[action]]
name = "get-thing"
title = "Look up a thing"
effect = "read"
scope = "things:read"
roles = ["owner"]
http = ["things"]
request = { method = "GET", path = "/{config.region}/things/{id}", query = ["limit"] }
params = { type = "object", required = ["id"], properties = { id = { type = "string" }, limit = { type = "integer" } } }
result = { type = "object" }

[config]
type = "object"
required = ["region"]
properties = { region = { type = "string" }, other = { type = "string" } }
"#;

/// A program made for WASI.
pub(crate) const PROGRAM: &str = r#"contract = 1
[plugin]
id = "program"
version = "0.1.0"
kind = "action"
title = "Program"
summary = "Made elsewhere."
publisher = "acme"
world = "wasi:cli/command@0.2"

[[action]]
name = "convert"
title = "Convert"
effect = "read"
scope = "things:read"
roles = ["owner"]
command = { args = ["--to", "{unit}"] }
params = { type = "object", required = ["unit"], properties = { unit = { type = "string" }, values = { type = "array", items = { type = "number" } } } }
result = { type = "null" }

[[action]]
name = "version"
title = "Version"
effect = "read"
scope = "things:read"
roles = ["owner"]
result = { type = "string" }
"#;

pub(crate) fn shop_config() -> Value {
    json!({ "base-url": "https://shop.example.com/api" })
}

pub(crate) fn person(role: Role) -> Caller {
    Caller { principal: Principal::User { name: "alice".to_owned() }, role, scopes: None, custom: None }
}

/// A full installation of `contract`.
pub(crate) fn installed(contract: &Contract, config: Value) -> Installation {
    let digest = Digest::of(b"component");
    Installation {
        tenant: "acme".parse().unwrap(),
        id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        name: "shop-de".to_owned(),
        plugin: contract.plugin_ref(),
        digest,
        state: InstallState::Enabled,
        revision: 1,
        grant: Grant::all(contract, digest, &config).unwrap(),
        config,
    }
}

/// Asks for the decision on one action.
pub(crate) fn ask(
    contract: &Contract,
    installation: &Installation,
    ceiling: &Ceiling,
    caller: &Caller,
    action: &str,
) -> Decision {
    authority(&AuthorityRequest {
        standing: &standing(contract, installation, ceiling),
        caller: &Arc::new(caller.clone()),
        action,
        invocation: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
    })
}

/// The three as they stand together.
pub(crate) fn standing(contract: &Contract, installation: &Installation, ceiling: &Ceiling) -> Arc<Standing> {
    let (installation, ceiling) = (Arc::new(installation.clone()), Arc::new(ceiling.clone()));
    Arc::new(Standing::new(installation, Arc::new(contract.clone()), ceiling))
}
