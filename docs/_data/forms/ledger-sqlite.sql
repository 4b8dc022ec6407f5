CREATE TABLE filecolumn_ledger (
    backend VARCHAR(64) NOT NULL,
    "key" VARCHAR(1024) NOT NULL,
    state SMALLINT NOT NULL,
    checked BOOLEAN NOT NULL,
    size BIGINT,
    sha256 VARCHAR(64),
    created_at BIGINT NOT NULL,
    due_at BIGINT,
    attempts INTEGER NOT NULL,
    last_error VARCHAR(500),
    held_in VARCHAR(16),
    fresh BOOLEAN,
    unreferenced_since BIGINT,
    PRIMARY KEY (backend, "key")
);

CREATE INDEX ix_filecolumn_ledger_due ON filecolumn_ledger (due_at)
    WHERE state <> 1;

CREATE TABLE filecolumn_meta (
    name VARCHAR(64) NOT NULL,
    value VARCHAR(1024),
    PRIMARY KEY (name)
);
