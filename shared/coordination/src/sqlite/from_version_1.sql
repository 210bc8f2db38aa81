-- What a state file of version 1 lacks: blockers and quotas.

ALTER TABLE process ADD COLUMN quotas TEXT;

CREATE TABLE blocker (
    catalog    TEXT NOT NULL,
    scope      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (catalog, scope, owner)
) STRICT, WITHOUT ROWID;

CREATE TABLE quota (
    scope        TEXT PRIMARY KEY,
    day          INTEGER NOT NULL,
    month        INTEGER NOT NULL,
    booked_bytes INTEGER NOT NULL,
    booked_cost  INTEGER NOT NULL,
    held         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
