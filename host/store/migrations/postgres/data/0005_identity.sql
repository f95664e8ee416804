-- How people prove who they are. Tokens are found by blind index and stored nowhere. Where there is no version, a row is
-- never changed but in the columns named here: the last step of a code that was used, and when a second factor was shown.

CREATE TABLE credential (
    tenant     TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    totp_step  BIGINT           NOT NULL,
    created_ms BIGINT           NOT NULL,
    version    BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, user_id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);

CREATE TABLE invitation (
    tenant      TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    token_index BYTEA            NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    created_ms  BIGINT           NOT NULL,
    expires_ms  BIGINT           NOT NULL,
    doc         BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, token_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX invitation_of ON invitation (tenant, user_id);

CREATE TABLE user_session (
    tenant        TEXT COLLATE "C" NOT NULL,
    id            TEXT COLLATE "C" NOT NULL,
    token_index   BYTEA            NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    created_ms    BIGINT           NOT NULL,
    expires_ms    BIGINT           NOT NULL,
    stepped_up_ms BIGINT           NOT NULL,
    doc           BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, token_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX user_session_of ON user_session (tenant, user_id, created_ms);

-- Apart and not guarded, since it changes with the minutes: when a session was last used. An older one put back makes a
-- session idle sooner; a newer one keeps it until it expires, for whoever has its token.
CREATE TABLE session_seen (
    tenant  TEXT COLLATE "C" NOT NULL,
    id      TEXT COLLATE "C" NOT NULL,
    seen_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE known_device (
    tenant      TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    token_index BYTEA            NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    created_ms  BIGINT           NOT NULL,
    doc         BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, token_index),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX known_device_of ON known_device (tenant, user_id, created_ms);

CREATE TABLE custom_role (
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES tenant (tenant),
    id         TEXT COLLATE "C" NOT NULL,
    name_index BYTEA            NOT NULL,
    created_ms BIGINT           NOT NULL,
    version    BIGINT           NOT NULL,
    doc        BYTEA            NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name_index)
);
