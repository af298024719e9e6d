-- One row for each destination, partition and replay; replay '' is live traffic.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    partition TEXT NOT NULL,
    replay TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    journal INTEGER NOT NULL,
    UNIQUE (destination, partition, replay)
) STRICT;

-- Events that wait. A lane may have a million of them, so rows are small and read in order.
CREATE TABLE parked (
    lane INTEGER NOT NULL,
    event_offset INTEGER NOT NULL,
    user_key INTEGER NOT NULL,
    anonymous_key INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    next_at INTEGER,
    sendable_us INTEGER NOT NULL,
    class TEXT,
    trigger TEXT NOT NULL,
    PRIMARY KEY (lane, event_offset)
) STRICT, WITHOUT ROWID;

-- id grows with every dead event, so that the newest come first without a sort.
CREATE TABLE dead_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    lane INTEGER NOT NULL,
    event_offset INTEGER NOT NULL,
    message_id TEXT,
    class TEXT NOT NULL,
    status INTEGER,
    vendor_code TEXT,
    reason TEXT,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (lane, event_offset)
) STRICT;
CREATE INDEX dead_events_newest ON dead_events (destination, id);

-- How many dead events were dropped because there were too many.
CREATE TABLE dead_dropped (
    destination TEXT NOT NULL PRIMARY KEY,
    dropped INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
