//! The guarded tables, and the statements made from their names: the only SQL text that is put together at run time, and
//! only of the constants below.

use std::fmt::Write as _;
use std::sync::LazyLock;

use opsiq_vault::{Sealed, TenantVault};

use crate::StoreError;
use crate::db::{Cell, Dialect, Row};

/// How a column that names a row is written as text.
pub(super) enum Key {
    Text(&'static str),
    Number(&'static str),
    Bytes(&'static str),
}

impl Key {
    pub(super) fn column(&self) -> &'static str {
        let (Self::Text(name) | Self::Number(name) | Self::Bytes(name)) = self;
        name
    }

    fn text(&self, row: &str, dialect: Dialect) -> String {
        match (self, dialect) {
            (Self::Text(name), _) => format!("{row}.{name}"),
            (Self::Number(name), _) => format!("CAST({row}.{name} AS TEXT)"),
            (Self::Bytes(name), Dialect::Sqlite) => format!("lower(hex({row}.{name}))"),
            (Self::Bytes(name), Dialect::Postgres) => format!("encode({row}.{name}, 'hex')"),
        }
    }

    /// The column of the list of touched rows that keeps it as the part at place `at` of a name.
    fn slot(&self, at: usize, dialect: Dialect) -> String {
        let kind = match (self, dialect) {
            (_, Dialect::Sqlite) | (Self::Text(_), _) => 'k',
            (Self::Number(_), Dialect::Postgres) => 'n',
            (Self::Bytes(_), Dialect::Postgres) => 'b',
        };
        format!("{kind}{at}")
    }
}

pub(super) struct Shape {
    pub(super) name: &'static str,
    /// Whether its rows say whose they are, where the empty text means the host; else they belong to the host.
    pub(super) tenants: bool,
    /// What names a row beside the tenant.
    pub(super) keys: &'static [Key],
    plain: &'static [&'static str],
    sealed: &'static [&'static str],
}

/// Everything that decides what may happen. Not here: the audit log, which has a tree of its own, and what follows from it;
/// which requests and answers were taken, of which a row that is lost matters for minutes, who has which job, when a session
/// was last used, which its expiry bounds, and who came first.
/// New ones come last: a head holds a sum for each in this order.
pub(super) const SHAPES: [Shape; 25] = [
    Shape { name: "tenant", tenants: true, keys: &[], plain: &["created_ms", "version"], sealed: &["doc"] },
    Shape {
        name: "app_user",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["name_index", "state", "created_ms", "version"],
        sealed: &["doc"],
    },
    Shape {
        name: "plugin",
        tenants: false,
        keys: &[Key::Text("digest")],
        plain: &["publisher", "id", "version", "contract", "state", "registered_ms", "size"],
        sealed: &[],
    },
    Shape {
        name: "installation",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["name_index", "digest", "state", "revision", "created_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "installation_key",
        tenants: true,
        keys: &[Key::Text("installation"), Key::Text("name"), Key::Number("version")],
        plain: &["state", "created_ms"],
        sealed: &["secret", "doc"],
    },
    Shape {
        name: "confirmation",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["installation", "state", "created_ms", "expires_ms", "version"],
        sealed: &["doc"],
    },
    Shape {
        name: "idempotency",
        tenants: true,
        keys: &[Key::Bytes("client_index"), Key::Bytes("key_index")],
        plain: &["params_hash", "state", "invocation", "created_ms", "expires_ms"],
        sealed: &["answer"],
    },
    Shape {
        name: "kv",
        tenants: true,
        keys: &[Key::Text("installation"), Key::Bytes("key_index")],
        plain: &["version", "bytes"],
        sealed: &["key", "value"],
    },
    Shape {
        name: "erased_subject",
        tenants: true,
        keys: &[Key::Bytes("key_id")],
        plain: &["subject", "begun_ms", "done_ms"],
        sealed: &[],
    },
    Shape {
        name: "quarantine",
        tenants: true,
        keys: &[Key::Text("kind"), Key::Text("value")],
        plain: &["created_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "api_client",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["name_index", "created_ms", "version"],
        sealed: &["doc"],
    },
    Shape {
        name: "api_client_key",
        tenants: true,
        keys: &[Key::Text("client"), Key::Number("version")],
        plain: &["created_ms"],
        sealed: &["secret"],
    },
    Shape {
        name: "credential",
        tenants: true,
        keys: &[Key::Text("user_id")],
        plain: &["totp_step", "created_ms", "version"],
        sealed: &["doc"],
    },
    Shape {
        name: "invitation",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["token_index", "user_id", "created_ms", "expires_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "user_session",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["token_index", "user_id", "created_ms", "expires_ms", "stepped_up_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "known_device",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["token_index", "user_id", "created_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "custom_role",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["name_index", "created_ms", "version"],
        sealed: &["doc"],
    },
    Shape {
        name: "sso_provider",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["name_index", "created_ms", "version"],
        sealed: &["secret", "doc"],
    },
    Shape {
        name: "sso_identity",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["identity_index", "issuer_index", "user_id", "created_ms"],
        sealed: &["doc"],
    },
    Shape {
        name: "audit_retention",
        tenants: true,
        keys: &[],
        plain: &["months", "content_from", "until"],
        sealed: &[],
    },
    Shape { name: "audit_hold", tenants: true, keys: &[Key::Text("id")], plain: &["created_ms"], sealed: &["doc"] },
    Shape {
        name: "address_rule",
        tenants: true,
        keys: &[Key::Text("network")],
        plain: &["verdict", "created_ms"],
        sealed: &["doc"],
    },
    Shape { name: "address_list", tenants: true, keys: &[], plain: &["revision"], sealed: &[] },
    Shape {
        name: "account_network",
        tenants: true,
        keys: &[Key::Text("user_id"), Key::Bytes("network_index")],
        plain: &["first_ms", "last_ms"],
        sealed: &[],
    },
    Shape {
        name: "passkey",
        tenants: true,
        keys: &[Key::Text("id")],
        plain: &["credential_index", "user_id", "created_ms", "version"],
        sealed: &["doc"],
    },
];

/// How many tables are guarded.
pub(super) const COUNT: usize = SHAPES.len();

/// One guarded table with its statements.
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    plain: usize,
    sealed: usize,
    /// Columns of both selects: owner, name of the row, whether it exists, its mark, then its content. This one: the rows
    /// touched since the last marking.
    pub(super) touched: &'static str,
    /// All rows.
    pub(super) all: &'static str,
    /// All rows of the owner `$1`.
    pub(super) owned: &'static str,
    /// Touches every row of the owner `$1`, and every row of it that has a mark.
    pub(super) touch_owned: [&'static str; 2],
}

/// First column of content in the selects.
const CONTENT: usize = 4;

impl Table {
    fn of(shape: &Shape, dialect: Dialect) -> Self {
        let Shape { name, tenants, keys, plain, sealed } = shape;
        let (list, main) = (touched(dialect), dialect.pick("main.", ""));
        let content = joined(plain.iter().chain(*sealed).map(|column| format!(", x.{column}")));
        let (owner, of_owner) = if *tenants { ("x.tenant", "x.tenant = $1") } else { ("''", "'' = $1") };
        let pk = pk(keys, "x", dialect);
        let same: Vec<String> = tenants
            .then(|| "x.tenant = t.tenant".to_owned())
            .into_iter()
            .chain(keys.iter().zip(1..).map(|(key, at)| format!("x.{} = t.{}", key.column(), key.slot(at, dialect))))
            .collect();
        let same = same.join(" AND ");
        let present = if *tenants { "tenant" } else { keys[0].column() };
        let mark = format!("LEFT JOIN {main}row_mark m ON m.tenant");
        let (yes, no) = ("CAST(1 AS BIGINT)", "CAST(0 AS BIGINT)");
        let columns = slots(keys, dialect);
        let values = joined(keys.iter().map(|key| format!(", x.{}", key.column())));
        Self {
            name,
            plain: plain.len(),
            sealed: sealed.len(),
            touched: leak(format!(
                "SELECT t.tenant, t.pk, CASE WHEN x.{present} IS NULL THEN {no} ELSE {yes} END, m.mark{content} \
                 FROM {list} t LEFT JOIN {main}{name} x ON {same} \
                 {mark} = t.tenant AND m.tbl = t.tbl AND m.pk = t.pk WHERE t.tbl = '{name}'"
            )),
            all: leak(format!("SELECT {owner}, {pk}, {yes}, CAST(NULL AS BYTEA){content} FROM {main}{name} x")),
            owned: leak(format!(
                "SELECT {owner}, {pk}, {yes}, m.mark{content} FROM {main}{name} x \
                 {mark} = {owner} AND m.tbl = '{name}' AND m.pk = {pk} WHERE {of_owner}"
            )),
            touch_owned: [
                leak(format!(
                    "INSERT INTO {list} (tbl, tenant, pk{columns}) \
                     SELECT '{name}', {owner}, {pk}{values} FROM {main}{name} x WHERE {of_owner} ON CONFLICT DO NOTHING"
                )),
                leak(format!(
                    "INSERT INTO {list} (tbl, tenant, pk) SELECT '{name}', m.tenant, m.pk FROM {main}row_mark m \
                     WHERE m.tenant = $1 AND m.tbl = '{name}' ON CONFLICT DO NOTHING"
                )),
            ],
        }
    }
}

/// The list of touched rows, which each connection that writes has for itself.
fn touched(dialect: Dialect) -> &'static str {
    dialect.pick("temp.touched", "pg_temp.touched")
}

/// What is touched: the tables' names.
pub(super) fn touched_tables(dialect: Dialect) -> &'static str {
    dialect.pick("SELECT DISTINCT tbl FROM temp.touched", "SELECT DISTINCT tbl FROM pg_temp.touched")
}

/// The name of a row as text: its keys, with a slash between them.
pub(super) fn pk(keys: &[Key], row: &str, dialect: Dialect) -> String {
    let parts: Vec<String> = keys.iter().map(|key| key.text(row, dialect)).collect();
    if parts.is_empty() { "''".to_owned() } else { parts.join(" || '/' || ") }
}

/// The columns of the list that keep the keys.
pub(super) fn slots(keys: &[Key], dialect: Dialect) -> String {
    joined(keys.iter().zip(1..).map(|(key, at)| format!(", {}", key.slot(at, dialect))))
}

pub(super) fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().concat()
}

/// A statement made once in the life of the process.
fn leak(text: String) -> &'static str {
    text.leak()
}

/// The guarded tables, in the order of the sums in a head.
pub(super) fn tables(dialect: Dialect) -> &'static [Table; COUNT] {
    static SQLITE: LazyLock<[Table; COUNT]> =
        LazyLock::new(|| SHAPES.each_ref().map(|shape| Table::of(shape, Dialect::Sqlite)));
    static POSTGRES: LazyLock<[Table; COUNT]> =
        LazyLock::new(|| SHAPES.each_ref().map(|shape| Table::of(shape, Dialect::Postgres)));
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    }
}

/// What a connection that writes is given first: the list of touched rows, and triggers that fill it, so that no statement
/// can change a guarded row without being noticed. Both are the connection's own and in memory, and undone with a
/// transaction that is rolled back.
pub(crate) static SQLITE_SESSION: LazyLock<&'static str> = LazyLock::new(|| {
    let mut sql = "CREATE TEMP TABLE touched (tbl TEXT NOT NULL, tenant TEXT NOT NULL, pk TEXT NOT NULL, k1, k2, k3, \
                   PRIMARY KEY (tbl, tenant, pk)) WITHOUT ROWID;\n"
        .to_owned();
    for Shape { name, tenants, keys, .. } in &SHAPES {
        for (event, row) in [("INSERT", "NEW"), ("UPDATE", "OLD"), ("UPDATE", "NEW"), ("DELETE", "OLD")] {
            let owner = if *tenants { format!("{row}.tenant") } else { "''".to_owned() };
            let values = joined(keys.iter().map(|key| format!(", {row}.{}", key.column())));
            let (columns, pk) = (slots(keys, Dialect::Sqlite), pk(keys, row, Dialect::Sqlite));
            // Not `OR IGNORE`: what the firing statement says about conflicts would hold instead.
            let _ = writeln!(
                sql,
                "CREATE TEMP TRIGGER touched_{name}_{event}_{row} AFTER {event} ON main.{name} BEGIN \
                 INSERT INTO touched (tbl, tenant, pk{columns}) SELECT '{name}', {owner}, {pk}{values} WHERE NOT EXISTS \
                 (SELECT 1 FROM touched WHERE tbl = '{name}' AND tenant = {owner} AND pk = {pk}); END;"
            );
        }
    }
    leak(sql)
});

/// A row as a select of [`Table`] gives it.
pub(super) struct Found {
    pub(super) owner: String,
    pub(super) pk: String,
    /// What it is marked as.
    pub(super) marked: Option<Vec<u8>>,
    /// What it would be marked as now; `None` when there is no such row.
    pub(super) mark: Option<[u8; 32]>,
}

impl Found {
    /// Reads a row and marks its content.
    pub(super) fn read(table: &Table, row: &Row, host: &TenantVault) -> Result<Self, StoreError> {
        let failed = |error: sqlx::Error| StoreError::of("row", &error);
        let owner: String = row.get(0).map_err(failed)?;
        let pk: String = row.get(1).map_err(failed)?;
        let present = row.cell(2).map_err(failed)? == Cell::Number(1);
        let marked: Option<Vec<u8>> = row.get(3).map_err(failed)?;
        let mut mark = None;
        if present {
            let mut content = Vec::with_capacity(256);
            for part in [table.name, &owner, &pk] {
                push(&mut content, b't', part.as_bytes());
            }
            for at in CONTENT..CONTENT + table.plain + table.sealed {
                let sealed = at >= CONTENT + table.plain;
                value(&mut content, row.cell(at).map_err(failed)?, sealed);
            }
            mark = Some(host.blind_index("row mark", &content));
        }
        Ok(Self { owner, pk, marked, mark })
    }
}

/// What a marked row adds to the sum of its table. Nobody without the host's keys can tell, so that no set of older rows can
/// be chosen to add up to the same.
pub(super) fn term(host: &TenantVault, mark: &[u8]) -> [u8; 32] {
    host.blind_index("row sum", mark)
}

/// Of a sealed column only what stays when keys rotate. Both engines' rows have the same marks.
fn value(out: &mut Vec<u8>, cell: Cell<'_>, sealed: bool) {
    match cell {
        Cell::Null => push(out, b'n', &[]),
        Cell::Number(number) => push(out, b'i', &number.to_be_bytes()),
        Cell::Text(text) => push(out, b't', text.as_bytes()),
        Cell::Bytes(bytes) => push(out, b'b', if sealed { Sealed::<()>::lasting(bytes) } else { bytes }),
    }
}

fn push(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// Every column of a guarded table is marked, and every table with sealed columns is guarded or the log's.
    async fn no_column_is_left_out() {
        let (_dir, store) = fixture::store().await;
        for (table, columns) in fixture::schema(store.reader(), false).await {
            let Some(shape) = SHAPES.iter().find(|shape| shape.name == table) else {
                let logs = ["audit_entry", "audit_checkpoint", "open_intent", "row_mark", "row_head"];
                // What can only make a request of the last minutes run again, a session last until it expires, or somebody
                // guess a few times more; and files, which their digests vouch for.
                let others = [
                    "request_nonce",
                    "request_floor",
                    "session_seen",
                    "sign_in_failure",
                    "blob",
                    "job",
                    "node",
                    "sso_spent",
                    "people_turn",
                ];
                let known = logs.contains(&table.as_str()) || others.contains(&table.as_str());
                assert!(known, "{table} is neither guarded nor the log's");
                continue;
            };
            let keys = shape.keys.iter().map(Key::column);
            let tenant = shape.tenants.then_some("tenant");
            let covered: Vec<&str> = tenant
                .into_iter()
                .chain(keys)
                .chain(shape.plain.iter().copied())
                .chain(shape.sealed.iter().copied())
                .collect();
            for column in &columns {
                assert!(covered.contains(&column.as_str()), "{table}.{column} is not marked");
            }
            assert_eq!(columns.len(), covered.len(), "{table}");
        }
    }

    fixture::on_both_engines! {
        no_column_is_left_out,
    }
}
