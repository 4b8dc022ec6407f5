CREATE TABLE filecolumn_ledger (
    backend VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `key` VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    state SMALLINT NOT NULL,
    checked BOOL NOT NULL,
    size BIGINT,
    sha256 VARCHAR(64),
    created_at BIGINT NOT NULL,
    due_at BIGINT,
    attempts INTEGER NOT NULL,
    last_error VARCHAR(500),
    held_in VARCHAR(16),
    fresh BOOL,
    unreferenced_since BIGINT,
    PRIMARY KEY (backend, `key`)
);

CREATE INDEX ix_filecolumn_ledger_due ON filecolumn_ledger (due_at);

CREATE TABLE filecolumn_meta (
    name VARCHAR(64) NOT NULL,
    value VARCHAR(1024),
    PRIMARY KEY (name)
);
