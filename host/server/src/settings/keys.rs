//! What can be said in `[server]`: each key stands here once, with its form, its default and what it means.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// `address:port`.
    Address,
    /// The same, or `off`.
    MaybeAddress,
    /// An absolute path, or nothing.
    Path,
    /// An origin, `https://host[:port]`, or nothing.
    Origin,
    /// Host names and addresses.
    Names,
    /// A number between these.
    Number(u64, u64),
    /// A time between these milliseconds.
    Time(u64, u64),
    /// A size between these bytes.
    Size(u64, u64),
    /// `true` or `false`.
    Flag,
    /// What [`super::acme`] reads.
    Acme,
    /// What [`super::shield`] reads.
    Shield,
}

/// One key of the section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) default: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
}

/// Every key of the section, in the order it is explained in: those of the shield last.
pub(super) fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(super::acme::KEYS).chain(super::shield::KEYS)
}

const KEYS: &[Key] = &[
    Key {
        name: "listen",
        form: Form::Address,
        default: "127.0.0.1:8443",
        doc: "Where the API is served, over TLS 1.3.",
    },
    Key {
        name: "operator-listen",
        form: Form::MaybeAddress,
        default: "127.0.0.1:9443",
        doc: "Where health and metrics are served, in clear and without a key: loopback, or a network of yours. `off` for nowhere.",
    },
    Key {
        name: "public-url",
        form: Form::Origin,
        default: "",
        doc: "How clients reach the API, such as https://api.example.com: what signatures and cookies are bound to. Without it, each of tls-names, with the port.",
    },
    Key {
        name: "tls-certificate",
        form: Form::Path,
        default: "",
        doc: "The certificate chain, PEM. Read again when it changes. Without it, a certificate of the host's own making, which nobody trusts yet.",
    },
    Key {
        name: "tls-key",
        form: Form::Path,
        default: "",
        doc: "Its private key, PEM; nobody but the host may read the file, or a group that root gave a file of its own.",
    },
    Key {
        name: "tls-names",
        form: Form::Names,
        default: "localhost 127.0.0.1 ::1",
        doc: "What clients call this host, unless public-url says so, and whom a certificate of the host's own making is for.",
    },
    Key {
        name: "connections",
        form: Form::Number(1, 1 << 20),
        default: "4096",
        doc: "Connections at once, from everybody; more are closed as they come.",
    },
    Key {
        name: "connections-per-address",
        form: Form::Number(1, 1 << 20),
        default: "256",
        doc: "Connections at once from one address, or one IPv6 network of 64 bits.",
    },
    Key {
        name: "streams",
        form: Form::Number(1, 10_000),
        default: "128",
        doc: "Requests at once on one HTTP/2 connection.",
    },
    Key {
        name: "headers",
        form: Form::Number(8, 1000),
        default: "64",
        doc: "Header fields of a request; more are answered 431.",
    },
    Key {
        name: "header-bytes",
        form: Form::Size(1 << 10, 1 << 20),
        default: "16KiB",
        doc: "Bytes of the target and all header fields of a request; more are answered 431.",
    },
    Key {
        name: "bodies",
        form: Form::Size(1 << 20, 1 << 40),
        default: "128MiB",
        doc: "Bytes of request bodies held at once, from everybody; what finds no room is answered 503.",
    },
    Key {
        name: "header-read",
        form: Form::Time(100, 600_000),
        default: "10s",
        doc: "How long a TLS handshake, or the header of a request, may take to arrive.",
    },
    Key {
        name: "body-read",
        form: Form::Time(100, 3_600_000),
        default: "30s",
        doc: "How long a body may take to arrive.",
    },
    Key {
        name: "write-stall",
        form: Form::Time(100, 3_600_000),
        default: "30s",
        doc: "How long a client may take nothing of what it is sent.",
    },
    Key {
        name: "idle",
        form: Form::Time(100, 3_600_000),
        default: "60s",
        doc: "How long a connection may be open without a request.",
    },
    Key {
        name: "drain",
        form: Form::Time(0, 600_000),
        default: "30s",
        doc: "How long requests in progress may take to end when the server ends.",
    },
];
