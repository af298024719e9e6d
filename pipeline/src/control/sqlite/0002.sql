-- One row: a number that grows with every change that delivery has to follow.
CREATE TABLE connection_changes (number INTEGER NOT NULL) STRICT;
INSERT INTO connection_changes VALUES (1);

CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    vendor TEXT NOT NULL,
    settings TEXT NOT NULL, -- JSON, as are hosts, routing, reason, start and last_check
    hosts TEXT NOT NULL,
    routing TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'enabled', 'paused', 'held', 'disabled')),
    reason TEXT,
    version INTEGER NOT NULL,
    start TEXT,
    last_check TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
    connection TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    prefix TEXT,
    last_four TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (connection, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE suppressions (
    kind TEXT NOT NULL CHECK (kind IN ('user_id', 'anonymous_id', 'email')),
    value TEXT NOT NULL,
    reason TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE replays (
    id TEXT NOT NULL PRIMARY KEY,
    connection TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    spec TEXT NOT NULL, -- JSON
    state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'cancelled', 'done', 'failed')),
    error TEXT,
    scanned INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    total INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX replays_of_connection ON replays (connection, id);
CREATE INDEX replays_open ON replays (state) WHERE state IN ('running', 'paused');
