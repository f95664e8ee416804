-- Passkeys of people. One is found by the blind index of what its authenticator calls it; its key and how often it signed are in
-- the document.

CREATE TABLE passkey (
    tenant           TEXT   NOT NULL,
    id               TEXT   NOT NULL,
    credential_index BLOB   NOT NULL,
    user_id          TEXT   NOT NULL,
    created_ms       BIGINT NOT NULL,
    version          BIGINT NOT NULL,
    doc              BLOB   NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, credential_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX passkey_of ON passkey (tenant, user_id, created_ms);
