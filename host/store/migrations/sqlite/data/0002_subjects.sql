-- Subjects' keys that are destroyed, or about to be: while done_ms is null, the key may still exist. Such a key is never
-- used again, also when a copy of it is put back.

CREATE TABLE erased_subject (
    tenant   TEXT   NOT NULL,
    key_id   BLOB   NOT NULL,
    subject  BLOB   NOT NULL,
    begun_ms BIGINT NOT NULL,
    done_ms  BIGINT,
    PRIMARY KEY (tenant, key_id)
);

CREATE INDEX erased_subject_of ON erased_subject (tenant, subject, begun_ms);
