-- Providers at which people of a tenant sign in, and whom each of their subjects is. An identity is found by the blind index of
-- issuer and subject, and of nothing else: addresses and names of a provider are no keys.

CREATE TABLE sso_provider (
    tenant     TEXT   NOT NULL REFERENCES tenant (tenant),
    id         TEXT   NOT NULL,
    name_index BLOB   NOT NULL,
    created_ms BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    secret     BLOB   NOT NULL,
    doc        BLOB   NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);

CREATE TABLE sso_identity (
    tenant         TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    identity_index BLOB   NOT NULL,
    issuer_index   BLOB   NOT NULL,
    user_id        TEXT   NOT NULL,
    created_ms     BIGINT NOT NULL,
    doc            BLOB   NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, identity_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX sso_identity_of ON sso_identity (tenant, user_id);

-- What came back from a provider once, as long as it could be believed once more. Not guarded: a row that is lost matters for
-- minutes, and the provider takes a code once as well.
CREATE TABLE sso_spent (
    tenant     TEXT   NOT NULL,
    what       BLOB   NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, what)
);

-- How often somebody decided about the people and roles of a tenant: who decides on what they read adds one to what they read. Not
-- guarded, since it says nothing but whether somebody came first.
CREATE TABLE people_turn (
    tenant TEXT   NOT NULL PRIMARY KEY,
    turn   BIGINT NOT NULL
);
