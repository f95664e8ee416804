-- What may not run: placed by the operator (the empty text) or by a tenant for what is its own. `kind` and `value` say what
-- it selects.

CREATE TABLE quarantine (
    tenant     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    value      TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    doc        BLOB   NOT NULL,
    PRIMARY KEY (tenant, kind, value)
);
