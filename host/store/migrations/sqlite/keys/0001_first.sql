-- Wrapped keys, apart from the data: destroying a row here ends what was sealed under it, in every copy of the data.

CREATE TABLE root_check (
    only_row   BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    created_ms BIGINT NOT NULL,
    wrapped    BLOB   NOT NULL
);

CREATE TABLE tenant_key (
    tenant     TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    wrapped    BLOB   NOT NULL,
    PRIMARY KEY (tenant, generation)
);

-- There while the root key rotates: the id of the key that everything is being put under.
CREATE TABLE root_rotation (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    next     BLOB   NOT NULL,
    began_ms BIGINT NOT NULL
);
