-- Times are milliseconds since 1970. A column `doc`, `secret`, `answer`, `key`, `value` or `sealed` holds ciphertext of
-- the vault; names are found by blind index. The tenant leads every primary key, so that engines which shard can split
-- by tenant.

CREATE TABLE tenant (
    tenant     TEXT   NOT NULL PRIMARY KEY,
    created_ms BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    doc        BLOB   NOT NULL
);

CREATE TABLE app_user (
    tenant     TEXT   NOT NULL REFERENCES tenant (tenant),
    id         TEXT   NOT NULL,
    name_index BLOB   NOT NULL,
    state      TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    doc        BLOB   NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);

-- The operator's catalogue, which belongs to no tenant and holds nothing of one.
CREATE TABLE plugin (
    digest        TEXT   NOT NULL PRIMARY KEY,
    publisher     TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    version       TEXT   NOT NULL,
    contract      BLOB   NOT NULL,
    state         TEXT   NOT NULL,
    registered_ms BIGINT NOT NULL,
    size          BIGINT NOT NULL,
    UNIQUE (publisher, id, version)
);

CREATE TABLE installation (
    tenant     TEXT   NOT NULL REFERENCES tenant (tenant),
    id         TEXT   NOT NULL,
    name_index BLOB   NOT NULL,
    digest     TEXT   NOT NULL REFERENCES plugin (digest),
    state      TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    doc        BLOB   NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);
CREATE INDEX installation_by_digest ON installation (digest);

-- A retired version keeps its row for the record and loses its secret.
CREATE TABLE installation_key (
    tenant       TEXT   NOT NULL,
    installation TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    secret       BLOB,
    doc          BLOB   NOT NULL,
    PRIMARY KEY (tenant, installation, name, version),
    FOREIGN KEY (tenant, installation) REFERENCES installation (tenant, id)
);

-- Outlives its installation, so no reference.
CREATE TABLE confirmation (
    tenant       TEXT   NOT NULL REFERENCES tenant (tenant),
    id           TEXT   NOT NULL,
    installation TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    doc          BLOB   NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX confirmation_by_state ON confirmation (tenant, state, created_ms);
CREATE INDEX confirmation_due ON confirmation (expires_ms) WHERE state = 'pending';

CREATE TABLE idempotency (
    tenant       TEXT   NOT NULL REFERENCES tenant (tenant),
    client_index BLOB   NOT NULL,
    key_index    BLOB   NOT NULL,
    params_hash  BLOB   NOT NULL,
    state        TEXT   NOT NULL,
    invocation   TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    answer       BLOB,
    PRIMARY KEY (tenant, client_index, key_index)
);
CREATE INDEX idempotency_running ON idempotency (tenant, invocation) WHERE state = 'running';
CREATE INDEX idempotency_due ON idempotency (expires_ms);

CREATE TABLE kv (
    tenant       TEXT   NOT NULL,
    installation TEXT   NOT NULL,
    key_index    BLOB   NOT NULL,
    version      BIGINT NOT NULL,
    bytes        BIGINT NOT NULL,
    key          BLOB   NOT NULL,
    value        BLOB   NOT NULL,
    PRIMARY KEY (tenant, installation, key_index),
    FOREIGN KEY (tenant, installation) REFERENCES installation (tenant, id)
);

-- `tenant` is the empty text in the host's own log. No references: a log outlives what it speaks of.
CREATE TABLE audit_entry (
    tenant     TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    time_ms    BIGINT NOT NULL,
    kind       BIGINT NOT NULL,
    invocation TEXT,
    leaf       BLOB   NOT NULL,
    nodes      BLOB   NOT NULL,
    header     BLOB   NOT NULL,
    sealed     BLOB   NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_by_invocation ON audit_entry (tenant, invocation) WHERE invocation IS NOT NULL;

CREATE TABLE audit_checkpoint (
    tenant     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    note       TEXT   NOT NULL,
    PRIMARY KEY (tenant, size)
);

CREATE TABLE open_intent (
    tenant     TEXT   NOT NULL,
    invocation TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (tenant, invocation)
);

-- Against rows that are put back: what each guarded row was last written as, and for each tenant (the empty text for the
-- catalogue) the sealed sums of all its marks with a count of changes, which signed checkpoints repeat.
CREATE TABLE row_mark (
    tenant TEXT NOT NULL,
    tbl    TEXT NOT NULL,
    pk     TEXT NOT NULL,
    mark   BLOB NOT NULL,
    PRIMARY KEY (tenant, tbl, pk)
);

CREATE TABLE row_head (
    tenant  TEXT   NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL,
    sealed  BLOB   NOT NULL
);
