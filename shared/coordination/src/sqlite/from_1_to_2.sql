-- From version 1, in which tables lay under their buckets, of which there were always eight, and which knew neither
-- blockers nor quotas.

CREATE TABLE layout (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    buckets    INTEGER NOT NULL,
    former     INTEGER
) STRICT;
INSERT INTO layout (id, generation, buckets) VALUES (1, 1, 8);

ALTER TABLE digest ADD COLUMN layout INTEGER NOT NULL DEFAULT 1;

ALTER TABLE table_state RENAME TO table_state_1;
DROP INDEX table_due;
CREATE TABLE table_state (
    table_id           TEXT PRIMARY KEY,
    bucket             INTEGER NOT NULL,
    layout             INTEGER NOT NULL,
    epoch              INTEGER NOT NULL,
    due_location       TEXT,
    due_at             INTEGER,
    marked_at          INTEGER,
    marks              INTEGER NOT NULL,
    seen_marks         INTEGER NOT NULL,
    evaluated_location TEXT,
    committed_location TEXT,
    conclusion         TEXT,
    failures           INTEGER NOT NULL,
    active_process     TEXT
) STRICT;
INSERT INTO table_state
    SELECT table_id, bucket, 1, epoch, due_location, due_at, marked_at, marks, seen_marks, evaluated_location,
           committed_location, conclusion, failures, active_process
    FROM table_state_1;
DROP TABLE table_state_1;
CREATE INDEX table_due ON table_state (bucket, due_at) WHERE due_at IS NOT NULL;

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
