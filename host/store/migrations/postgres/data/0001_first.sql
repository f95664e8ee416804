-- As the first three migrations of SQLite. Texts are ordered by their bytes, as there. What runs beside an older version of the host:
-- tables and columns are added first, used by the next version, and removed by the one after it.

-- Times are milliseconds since 1970. A column `doc`, `secret`, `answer`, `key`, `value` or `sealed` holds ciphertext of
-- the vault; names are found by blind index. The tenant leads every primary key, so that engines which shard can split
-- by tenant.

CREATE TABLE tenant (
    tenant     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_ms BIGINT           NOT NULL,
    version    BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL
);

CREATE TABLE app_user (
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    id         TEXT COLLATE "C" NOT NULL,
    name_index BYTEA            NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT           NOT NULL,
    version    BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);

-- The operator's catalogue, which belongs to no tenant and holds nothing of one.
CREATE TABLE plugin (
    digest        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    publisher     TEXT COLLATE "C" NOT NULL,
    id            TEXT COLLATE "C" NOT NULL,
    version       TEXT COLLATE "C" NOT NULL,
    contract      BYTEA            NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    registered_ms BIGINT           NOT NULL,
    size          BIGINT           NOT NULL,
    UNIQUE (publisher, id, version)
);

CREATE TABLE installation (
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    id         TEXT COLLATE "C" NOT NULL,
    name_index BYTEA            NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL REFERENCES plugin (digest),
    state      TEXT COLLATE "C" NOT NULL,
    revision   BIGINT           NOT NULL,
    created_ms BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);
CREATE INDEX installation_by_digest ON installation (digest);

-- A retired version keeps its row for the record and loses its secret.
CREATE TABLE installation_key (
    tenant       TEXT COLLATE "C" NOT NULL,
    installation TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    version      BIGINT           NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    created_ms   BIGINT           NOT NULL,
    secret       BYTEA,
    doc          BYTEA            NOT NULL,
    PRIMARY KEY (tenant, installation, name, version),
    FOREIGN KEY (tenant, installation) REFERENCES installation (tenant, id)
);

-- Outlives its installation, so no reference.
CREATE TABLE confirmation (
    tenant       TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    id           TEXT COLLATE "C" NOT NULL,
    installation TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    created_ms   BIGINT           NOT NULL,
    expires_ms   BIGINT           NOT NULL,
    version      BIGINT           NOT NULL,
    doc          BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX confirmation_by_state ON confirmation (tenant, state, created_ms);
CREATE INDEX confirmation_due ON confirmation (expires_ms) WHERE state = 'pending';

CREATE TABLE idempotency (
    tenant       TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    client_index BYTEA            NOT NULL,
    key_index    BYTEA            NOT NULL,
    params_hash  BYTEA            NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    invocation   TEXT COLLATE "C" NOT NULL,
    created_ms   BIGINT           NOT NULL,
    expires_ms   BIGINT           NOT NULL,
    answer       BYTEA,
    PRIMARY KEY (tenant, client_index, key_index)
);
CREATE INDEX idempotency_running ON idempotency (tenant, invocation) WHERE state = 'running';
CREATE INDEX idempotency_due ON idempotency (expires_ms);

CREATE TABLE kv (
    tenant       TEXT COLLATE "C" NOT NULL,
    installation TEXT COLLATE "C" NOT NULL,
    key_index    BYTEA            NOT NULL,
    version      BIGINT           NOT NULL,
    bytes        BIGINT           NOT NULL,
    key          BYTEA            NOT NULL,
    value        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, installation, key_index),
    FOREIGN KEY (tenant, installation) REFERENCES installation (tenant, id)
);

-- `tenant` is the empty text in the host's own log. No references: a log outlives what it speaks of.
CREATE TABLE audit_entry (
    tenant     TEXT COLLATE "C" NOT NULL,
    seq        BIGINT           NOT NULL,
    time_ms    BIGINT           NOT NULL,
    kind       BIGINT           NOT NULL,
    invocation TEXT COLLATE "C",
    leaf       BYTEA            NOT NULL,
    nodes      BYTEA            NOT NULL,
    header     BYTEA            NOT NULL,
    sealed     BYTEA            NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_by_invocation ON audit_entry (tenant, invocation) WHERE invocation IS NOT NULL;

CREATE TABLE audit_checkpoint (
    tenant     TEXT COLLATE "C" NOT NULL,
    size       BIGINT           NOT NULL,
    created_ms BIGINT           NOT NULL,
    note       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, size)
);

-- `node` is whose calls they are: a node that starts reports its own, and no other's.
CREATE TABLE open_intent (
    tenant     TEXT COLLATE "C" NOT NULL,
    invocation TEXT COLLATE "C" NOT NULL,
    seq        BIGINT           NOT NULL,
    node       TEXT COLLATE "C" NOT NULL DEFAULT current_setting('opsiq.node'),
    PRIMARY KEY (tenant, invocation)
);

-- Against rows that are put back: what each guarded row was last written as, and for each tenant (the empty text for the
-- catalogue) the sealed sums of all its marks with a count of changes, which signed checkpoints repeat.
CREATE TABLE row_mark (
    tenant TEXT COLLATE "C" NOT NULL,
    tbl    TEXT COLLATE "C" NOT NULL,
    pk     TEXT COLLATE "C" NOT NULL,
    mark   BYTEA            NOT NULL,
    PRIMARY KEY (tenant, tbl, pk)
);

CREATE TABLE row_head (
    tenant  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    changes BIGINT           NOT NULL,
    sealed  BYTEA            NOT NULL
);

-- Subjects' keys that are destroyed, or about to be: while done_ms is null, the key may still exist. Such a key is never
-- used again, also when a copy of it is put back.

CREATE TABLE erased_subject (
    tenant   TEXT COLLATE "C" NOT NULL,
    key_id   BYTEA            NOT NULL,
    subject  BYTEA            NOT NULL,
    begun_ms BIGINT           NOT NULL,
    done_ms  BIGINT,
    PRIMARY KEY (tenant, key_id)
);

CREATE INDEX erased_subject_of ON erased_subject (tenant, subject, begun_ms);

-- What may not run: placed by the operator (the empty text) or by a tenant for what is its own. `kind` and `value` say what
-- it selects.

CREATE TABLE quarantine (
    tenant     TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    value      TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, kind, value)
);

-- Components of plugins by digest, so that every node has those any node registered. Held against the digest at every read.

CREATE TABLE blob (
    digest TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bytes  BYTEA            NOT NULL
);
