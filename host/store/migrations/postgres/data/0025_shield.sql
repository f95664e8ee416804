-- Which addresses may come: to the host (the empty text), or to a tenant. Networks and verdicts are in clear, since they are
-- asked about at every request; why and by whom is in the document.

CREATE TABLE address_rule (
    tenant     TEXT COLLATE "C" NOT NULL,
    network    TEXT COLLATE "C" NOT NULL,
    verdict    TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, network)
);

-- How often an owner's rules changed, by which other nodes know that they did.
CREATE TABLE address_list (
    tenant   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT           NOT NULL
);

-- From which networks people signed in, by blind index.
CREATE TABLE account_network (
    tenant        TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    network_index BYTEA            NOT NULL,
    first_ms      BIGINT           NOT NULL,
    last_ms       BIGINT           NOT NULL,
    PRIMARY KEY (tenant, user_id, network_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);

-- Failed attempts to sign in, for an hour, where several nodes count them. Of whom is a keyed hash. All are the host's: the
-- empty text. Not guarded, since they change with every attempt; one that is lost lets somebody guess a few times more.
CREATE TABLE sign_in_failure (
    tenant   TEXT COLLATE "C" NOT NULL,
    whose    BYTEA            NOT NULL,
    failures BIGINT           NOT NULL,
    last_ms  BIGINT           NOT NULL,
    PRIMARY KEY (tenant, whose)
);
CREATE INDEX sign_in_failure_due ON sign_in_failure (last_ms);
