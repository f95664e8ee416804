//! `[server]` of `opsiq.toml`, and the same names in the environment. Each value remembers where it came from, so that
//! `opsiq config explain` can say why it is in force; a name or value that makes no sense stops the start, with its place.
//!
//! The environment wins over the file, and the file over the default. `[server] idle` is `OPSIQ_SERVER__IDLE`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use opsiq_contract::{parse_size, parse_time, show_size, show_time};
use opsiq_gate::{Class, Fault, Refusal, Stage};
use serde::Serialize;
use toml::de::{DeTable, DeValue};

pub use self::acme::AcmeSettings;
pub(crate) use self::shield::SLOW_COST;
pub use self::shield::ShieldSettings;
use keys::{Form, keys};

mod acme;
mod keys;
mod shield;

/// What variables of the environment begin with.
pub const ENVIRONMENT: &str = "OPSIQ_SERVER__";
/// The section.
const SECTION: &str = "server";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The operator's file.
    File {
        /// Its line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { line } => write!(f, "opsiq.toml, line {line}"),
            Self::Environment { name } => write!(f, "the environment, {name}"),
        }
    }
}

/// One value, and why it is that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// `server.idle`.
    pub key: String,
    /// The value in force, as it would be written.
    pub value: String,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What it is when nobody says anything.
    pub default: String,
    /// The variable of the environment that sets it.
    pub environment: String,
    /// What it means.
    pub doc: &'static str,
}

/// `[server]`, as it is in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub operator_listen: Option<SocketAddr>,
    /// How clients reach the API: `https://host[:port]`.
    pub public_url: Option<String>,
    /// Certificate chain and private key, when they come from files.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Whom a certificate of the host's own making is for.
    pub tls_names: Vec<String>,
    /// An authority that issues certificates for them instead.
    pub acme: Option<AcmeSettings>,
    /// Connections at once.
    pub connections: usize,
    /// Those from one address.
    pub connections_per_address: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of them.
    pub header_bytes: usize,
    /// Bytes of bodies held at once.
    pub bodies: usize,
    /// How long a handshake or a header may take.
    pub header_read: Duration,
    /// How long a body may take.
    pub body_read: Duration,
    /// How long a client may take nothing.
    pub write_stall: Duration,
    /// How long a connection may be open without a request.
    pub idle: Duration,
    /// How long ending waits for requests in progress.
    pub drain: Duration,
    /// What stands before the door.
    pub shield: ShieldSettings,
    explained: Vec<Explained>,
}

/// A value as somebody wrote it.
struct Said {
    text: String,
    origin: Origin,
}

impl Settings {
    /// Reads the section of a file with this text, and the variables `environment` that begin with [`ENVIRONMENT`].
    ///
    /// # Errors
    /// Everything wrong with either, with its place.
    pub fn read(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let mut faults = Vec::new();
        let mut said = file(text, &mut faults);
        for (name, value) in environment {
            let Some(short) = name.strip_prefix(ENVIRONMENT) else { continue };
            let short = short.to_ascii_lowercase().replace('_', "-");
            match position(&short) {
                Some(at) => said[at] = Some(Said { text: value, origin: Origin::Environment { name } }),
                None => faults.push(Fault { path: name, message: unknown(&short) }),
            }
        }
        let explained: Vec<Explained> = keys()
            .zip(said)
            .map(|(key, said)| {
                let said = said.unwrap_or_else(|| Said { text: key.default.to_owned(), origin: Origin::Default });
                Explained {
                    key: format!("{SECTION}.{}", key.name),
                    value: said.text,
                    origin: said.origin,
                    default: key.default.to_owned(),
                    environment: format!("{ENVIRONMENT}{}", key.name.to_ascii_uppercase().replace('-', "_")),
                    doc: key.doc,
                }
            })
            .collect();
        let settings = Values { explained: &explained, faults: &mut faults }.settings();
        match settings {
            Some(settings) if faults.is_empty() => Ok(Self { explained, ..settings }),
            _ => Err(invalid(faults)),
        }
    }

    /// Every value with its origin, in order.
    pub fn explained(&self) -> &[Explained] {
        &self.explained
    }
}

fn invalid(faults: Vec<Fault>) -> Refusal {
    let mut refusal = Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "config.server",
        "the configuration of the server has mistakes",
        "correct the place named; opsiq config explain shows what each value means",
    );
    refusal.faults = faults.into();
    refusal
}

fn position(name: &str) -> Option<usize> {
    keys().position(|key| key.name == name)
}

fn unknown(name: &str) -> String {
    match opsiq_contract::nearest(name, keys().map(|key| key.name)) {
        Some(near) => format!("unknown; did you mean `{near}`?"),
        None => "unknown; opsiq config explain lists what there is".to_owned(),
    }
}

/// What the file says of each key.
fn file(text: &str, faults: &mut Vec<Fault>) -> Vec<Option<Said>> {
    let mut said: Vec<Option<Said>> = keys().map(|_| None).collect();
    let line = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let at = |offset: usize| format!("opsiq.toml:{}", line(offset));
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            faults.push(Fault { path: at(offset), message: error.message().to_owned() });
            return said;
        }
    };
    let Some(section) = document.get_ref().get(SECTION) else { return said };
    let DeValue::Table(table) = section.get_ref() else {
        faults.push(Fault { path: at(section.span().start), message: "must be a table: [server]".to_owned() });
        return said;
    };
    for (key, value) in table {
        let start = key.span().start;
        let Some(place) = position(key.get_ref()) else {
            faults.push(Fault { path: at(start), message: format!("{}: {}", key.get_ref(), unknown(key.get_ref())) });
            continue;
        };
        let text = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Boolean(yes) if keys().nth(place).is_some_and(|key| matches!(key.form, Form::Flag)) => {
                Some(yes.to_string())
            }
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()
                .map(|items| items.join(" ")),
            _ => None,
        };
        match text {
            Some(text) => said[place] = Some(Said { text, origin: Origin::File { line: line(start) } }),
            None => faults.push(Fault {
                path: at(start),
                message: format!("{}: must be a text, a number or a list of texts", key.get_ref()),
            }),
        }
    }
    said
}

/// Turns texts into values, and collects what is wrong.
struct Values<'a> {
    explained: &'a [Explained],
    faults: &'a mut Vec<Fault>,
}

impl Values<'_> {
    fn settings(mut self) -> Option<Settings> {
        let certificate = self.path("tls-certificate");
        let key = self.path("tls-key");
        if certificate.is_some() != key.is_some() {
            self.wrong("tls-certificate", "a certificate and its key come together: tls-certificate and tls-key");
        }
        let acme = self.acme(certificate.is_some());
        Some(Settings {
            acme,
            listen: self.address("listen")?,
            operator_listen: self.maybe_address("operator-listen"),
            public_url: self.origin("public-url"),
            tls_files: certificate.zip(key),
            tls_names: self.names("tls-names"),
            connections: self.amount("connections"),
            connections_per_address: self.amount("connections-per-address"),
            streams: u32::try_from(self.amount("streams")).unwrap_or(1),
            headers: self.amount("headers"),
            header_bytes: self.amount("header-bytes"),
            bodies: self.amount("bodies"),
            header_read: self.time("header-read"),
            body_read: self.time("body-read"),
            write_stall: self.time("write-stall"),
            idle: self.time("idle"),
            drain: self.time("drain"),
            shield: self.shield(),
            explained: Vec::new(),
        })
    }

    fn text(&self, name: &str) -> &str {
        position(name).and_then(|at| self.explained.get(at)).map_or("", |explained| explained.value.as_str())
    }

    fn wrong(&mut self, name: &str, must: &str) {
        let origin = position(name).and_then(|at| self.explained.get(at)).map(|explained| explained.origin.to_string());
        self.faults
            .push(Fault { path: format!("[server] {name}, {}", origin.unwrap_or_default()), message: must.to_owned() });
    }

    fn address(&mut self, name: &str) -> Option<SocketAddr> {
        let address = self.text(name).parse().ok();
        if address.is_none() {
            self.wrong(name, "must be an address and a port, such as 0.0.0.0:8443");
        }
        address
    }

    fn maybe_address(&mut self, name: &str) -> Option<SocketAddr> {
        if self.text(name) == "off" { None } else { self.address(name) }
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            self.wrong(name, "must be an absolute path");
            return None;
        }
        Some(path)
    }

    fn origin(&mut self, name: &str) -> Option<String> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let origin = url::Url::parse(text)
            .ok()
            .filter(|url| {
                url.scheme() == "https" && url.path() == "/" && url.query().is_none() && url.username().is_empty()
            })
            .map(|url| url.origin().ascii_serialization());
        if origin.is_none() {
            self.wrong(name, "must be an origin, such as https://api.example.com");
        }
        origin
    }

    fn names(&mut self, name: &str) -> Vec<String> {
        let names: Vec<String> =
            self.text(name).split([' ', ',']).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        if names.is_empty() {
            self.wrong(name, "must name at least one host");
        }
        names
    }

    fn amount(&mut self, name: &str) -> usize {
        let form = keys().find(|key| key.name == name).map(|key| key.form);
        let text = self.text(name).to_owned();
        let (value, least, most, such) = match form {
            Some(Form::Number(least, most)) => {
                (text.parse().ok(), least, most, format!("a number from {least} to {most}"))
            }
            Some(Form::Size(least, most)) => {
                (parse_size(&text), least, most, format!("a size from {} to {}", show_size(least), show_size(most)))
            }
            Some(Form::Time(least, most)) => {
                (parse_time(&text), least, most, format!("a time from {} to {}", show_time(least), show_time(most)))
            }
            _ => (None, 0, 0, String::new()),
        };
        let value = value.filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.wrong(name, &format!("must be {such}"));
        }
        value.and_then(|value| usize::try_from(value).ok()).unwrap_or_default()
    }

    fn time(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.amount(name) as u64)
    }
}

#[cfg(test)]
mod tests;
