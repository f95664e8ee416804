//! Components as an attacker would rewrite them.

/// The component with its embedded contract changed, as an attacker would rewrite it.
pub(crate) fn with_contract(component: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    const NAME: &str = "opsiq:contract";
    let mut kept = Vec::new();
    let mut contract = None;
    let mut from = 0;
    let mut depth = 0;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) if depth > 0 => depth -= 1,
            wasmparser::Payload::CustomSection(section) if depth == 0 && section.name() == NAME => {
                contract = Some(serde_json::from_slice::<serde_json::Value>(section.data()).unwrap());
                // Identifier and length stand before what the range covers.
                let range = section.range();
                let length = leb(range.end - range.start).len();
                kept.extend_from_slice(&component[from..range.start - length - 1]);
                from = range.end;
            }
            _ => {}
        }
    }
    kept.extend_from_slice(&component[from..]);
    let mut contract = contract.expect("a contract");
    change(&mut contract);
    let data = contract.to_string();
    let mut body = leb(NAME.len());
    body.extend_from_slice(NAME.as_bytes());
    body.extend_from_slice(data.as_bytes());
    kept.push(0);
    kept.extend_from_slice(&leb(body.len()));
    kept.extend_from_slice(&body);
    kept
}

/// A number as the format writes it (LEB128).
pub(crate) fn leb(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(n & 0x7f).unwrap();
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}
