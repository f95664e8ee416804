-- Programs of a tenant that sign their requests. What each may do, and until when each of its secrets is accepted, is in its
-- document; the secrets are beside it, one row a version, and a secret that is not accepted any more has none.

CREATE TABLE api_client (
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    id         TEXT COLLATE "C" NOT NULL,
    name_index BYTEA            NOT NULL,
    created_ms BIGINT           NOT NULL,
    version    BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);

CREATE TABLE api_client_key (
    tenant     TEXT COLLATE "C" NOT NULL,
    client     TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    created_ms BIGINT           NOT NULL,
    secret     BYTEA            NOT NULL,
    PRIMARY KEY (tenant, client, version),
    FOREIGN KEY (tenant, client) REFERENCES api_client (tenant, id)
);

-- Signed requests that were taken, as long as they could be accepted once more, and for each owner of such rows (the empty
-- text is the host) the moment up to which they are dropped: what is older is refused for that reason alone.

CREATE TABLE request_nonce (
    tenant     TEXT COLLATE "C" NOT NULL,
    client     TEXT COLLATE "C" NOT NULL,
    nonce      BYTEA            NOT NULL,
    expires_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, client, nonce)
);
CREATE INDEX request_nonce_due ON request_nonce (expires_ms);

CREATE TABLE request_floor (
    tenant   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    floor_ms BIGINT           NOT NULL
);
