-- How long the content of audit logs is kept (the empty text is the host's own), and which of it is gone: entries before
-- `content_from` keep their place, their time and their hashes. Those before `until` are going; equal when none are.

CREATE TABLE audit_retention (
    tenant       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    months       BIGINT NOT NULL,
    content_from BIGINT NOT NULL,
    until        BIGINT NOT NULL
);

-- While there is one, nothing of that log goes, and nobody of that tenant is erased.
CREATE TABLE audit_hold (
    tenant     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    doc        BYTEA NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- Work that one node does at a time: who has it, until when by the clock of the database, and how often it was taken. What is
-- written for it names that number, so that who had it before writes nothing any more. `looked_ms` is when it last looked
-- at the clock, `steady_ms` since when the clock went its way, `ran_ms` when it last came to its end.
CREATE TABLE job (
    tenant    TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    holder    TEXT COLLATE "C" NOT NULL,
    lease_ms  BIGINT NOT NULL,
    fence     BIGINT NOT NULL,
    looked_ms BIGINT NOT NULL,
    steady_ms BIGINT NOT NULL,
    ran_ms    BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
