-- The nodes that share this database: until when each is believed to live, by the clock of the database, and how often it came or
-- was given up. A node writes as the number it registered with; who ends its calls for it raises that first.
CREATE TABLE node (
    tenant   TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    epoch    BIGINT           NOT NULL,
    lease_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- As which of them its node wrote it, which the transaction says that holds the node's row. Empty for a node of an older version,
-- whose calls only itself ends.
ALTER TABLE open_intent ADD COLUMN epoch BIGINT DEFAULT NULLIF(current_setting('opsiq.epoch', true), '')::bigint;
