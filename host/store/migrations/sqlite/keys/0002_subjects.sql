-- Keys of data subjects, sealed by the key of their tenant. A subject is found by blind index, never by name. A destroyed
-- key leaves its row without the key: that it was erased is known here too, should older data be put back.

CREATE TABLE subject_key (
    tenant     TEXT   NOT NULL,
    id         BLOB   NOT NULL,
    subject    BLOB   NOT NULL,
    created_ms BIGINT NOT NULL,
    wrapped    BLOB,
    PRIMARY KEY (tenant, id)
);

CREATE UNIQUE INDEX subject_key_of ON subject_key (tenant, subject) WHERE wrapped IS NOT NULL;
