//! Headers that are the host's alone.
//!
//! Neither a plugin nor a contract sets them: they frame the message, choose the connection, or are taken by upstreams for
//! the truth about who calls or which method and path is meant.

/// Names, in lower case.
const NAMES: &[&str] = &[
    // RFC 9110 sections 7.2, 7.6 and 10.1, RFC 9112 section 6
    "host",
    "content-length",
    "transfer-encoding",
    "trailer",
    "te",
    "connection",
    "keep-alive",
    "upgrade",
    "via",
    "max-forwards",
    "expect",
    "http2-settings",
    "close",
    // The host asks for the codings it can decode.
    "accept-encoding",
    // RFC 7239 and its forerunners
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    // Upstreams that honour these run another method or path than the rule allowed.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
const PREFIXES: &[&str] = &["proxy-", "x-forwarded-", ":"];

/// Whether `name`, in lower case, is a header that only the host sets.
pub fn is_host_header(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_host_header;

    #[test]
    fn framing_routing_and_identity_are_the_hosts() {
        for name in ["host", "te", "proxy-authorization", "x-forwarded-for", ":path", "x-http-method-override"] {
            assert!(is_host_header(name), "{name}");
        }
        for name in ["authorization", "x-api-key", "content-type", "x-forward", "hosts"] {
            assert!(!is_host_header(name), "{name}");
        }
    }
}
