-- One row: a number that grows with every change to sources and API keys.
CREATE TABLE changes (number INTEGER NOT NULL) STRICT;
INSERT INTO changes VALUES (1);

CREATE TABLE sources (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('browser', 'server')),
    test INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    write_key_hash BLOB NOT NULL UNIQUE CHECK (length(write_key_hash) = 32),
    write_key_prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL -- microseconds since 1970
) STRICT;

CREATE TABLE api_keys (
    name TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE cursors (
    destination TEXT NOT NULL,
    partition TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (destination, partition)
) STRICT, WITHOUT ROWID;

-- id grows with every letter, so that the newest come first without a sort.
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    partition TEXT NOT NULL,
    event_offset INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (destination, partition, event_offset)
) STRICT;
CREATE INDEX dead_letters_newest ON dead_letters (destination, id);
