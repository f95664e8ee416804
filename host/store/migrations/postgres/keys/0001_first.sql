-- As the first two migrations of SQLite. Texts are ordered by their bytes, as there. What runs beside an older version of the host:
-- tables and columns are added first, used by the next version, and removed by the one after it.

-- Wrapped keys, apart from the data: destroying a row here ends what was sealed under it, in every copy of the data.

CREATE TABLE root_check (
    only_row   BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    created_ms BIGINT NOT NULL,
    wrapped    BYTEA  NOT NULL
);

CREATE TABLE tenant_key (
    tenant     TEXT COLLATE "C" NOT NULL,
    generation BIGINT           NOT NULL,
    created_ms BIGINT           NOT NULL,
    wrapped    BYTEA            NOT NULL,
    PRIMARY KEY (tenant, generation)
);

-- There while the root key rotates: the id of the key that everything is being put under.
CREATE TABLE root_rotation (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    next     BYTEA  NOT NULL,
    began_ms BIGINT NOT NULL
);

-- Keys of data subjects, sealed by the key of their tenant. A subject is found by blind index, never by name. A destroyed
-- key leaves its row without the key: that it was erased is known here too, should older data be put back.

CREATE TABLE subject_key (
    tenant     TEXT COLLATE "C" NOT NULL,
    id         BYTEA            NOT NULL,
    subject    BYTEA            NOT NULL,
    created_ms BIGINT           NOT NULL,
    wrapped    BYTEA,
    PRIMARY KEY (tenant, id)
);

CREATE UNIQUE INDEX subject_key_of ON subject_key (tenant, subject) WHERE wrapped IS NOT NULL;
