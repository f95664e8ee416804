//! The `OpenAPI` document as a page: made here, from the same document, without a script, and so under a policy that allows
//! none.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}\
h2{margin-top:2.5rem;text-transform:capitalize}details{border:1px solid #8885;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}\
summary{cursor:pointer}code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto}\
b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}";

/// The policy of the page: its own style, and nothing else.
pub(crate) fn policy() -> String {
    static HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        *HASH
    )
}

/// The page.
pub(crate) fn page(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>OpsIQ API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><h1>OpsIQ API</h1>\
         <p>{} The same as <a href=\"/v1/openapi.json\">OpenAPI 3.1</a>.</p>",
        escaped(text(&document["info"]["description"]))
    );
    let mut tag = "";
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let own = text(&operation["tags"][0]);
            if own != tag {
                tag = own;
                let _ = write!(page, "<h2>{}</h2>", escaped(tag));
            }
            operation_of(&mut page, path, method, operation);
        }
    }
    page.push_str("<h2>Shapes</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let shape = serde_json::to_string_pretty(schema).unwrap_or_default();
        let (name, shape) = (escaped(name), escaped(&shape));
        let _ = write!(page, "<details id=\"{name}\"><summary>{name}</summary><pre>{shape}</pre></details>");
    }
    page.push_str("</body></html>");
    page
}

fn operation_of(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details><summary><b>{}</b><code>{}</code></summary><p>{}</p><table>",
        escaped(&method.to_ascii_uppercase()),
        escaped(path),
        escaped(text(&operation["summary"]))
    );
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, at) = (text(&parameter["name"]), text(&parameter["in"]));
        let doc = text(&parameter["description"]);
        let _ = write!(page, "<tr><th><code>{}</code><td>{}<td>{}", escaped(name), escaped(at), escaped(doc));
    }
    for (media, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(page, "<tr><th>body<td>{}<td>{}", escaped(media), link(&content["schema"]));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let shapes = response["content"].as_object().into_iter().flatten();
        let shapes: Vec<_> =
            shapes.map(|(media, content)| format!("{} {}", escaped(media), link(&content["schema"]))).collect();
        let doc = escaped(text(&response["description"]));
        let _ = write!(page, "<tr><th>{}<td>{}<td>{doc}", escaped(status), shapes.join(", "));
    }
    page.push_str("</table></details>");
}

fn link(schema: &Value) -> String {
    let name = text(&schema["$ref"]).rsplit('/').next().unwrap_or_default();
    if name.is_empty() { String::new() } else { format!("<a href=\"#{0}\">{0}</a>", escaped(name)) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
