-- The state file of the embedded mode, version 5 (PRAGMA user_version). Times are milliseconds since 1970.

CREATE TABLE layout (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    generation   INTEGER NOT NULL,
    buckets      INTEGER NOT NULL,
    former       INTEGER,
    moving_since INTEGER
) STRICT;

CREATE TABLE bucket (
    bucket        INTEGER PRIMARY KEY,
    owner         TEXT,
    epoch         INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    last_swept_at INTEGER NOT NULL,
    last_begun_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE digest (
    database TEXT PRIMARY KEY,
    layout   INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    digest   BLOB NOT NULL
) STRICT;

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
    begun              INTEGER NOT NULL DEFAULT 0,
    active_process     TEXT
) STRICT;
CREATE INDEX table_due ON table_state (bucket, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE process (
    process       TEXT PRIMARY KEY,
    kind          TEXT NOT NULL DEFAULT 'rewrite',
    table_id      TEXT NOT NULL,
    bucket        INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    state         TEXT NOT NULL,
    worker        TEXT,
    deadline      INTEGER,
    outcome       TEXT,
    commit_claims INTEGER NOT NULL,
    tasks         INTEGER NOT NULL,
    open_tasks    INTEGER NOT NULL,
    header        TEXT NOT NULL,
    quotas        TEXT,
    waits         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX process_of_table ON process (table_id, created_at);
CREATE INDEX process_ended ON process (created_at) WHERE state = 'ended';

CREATE TABLE task (
    process    TEXT NOT NULL REFERENCES process (process) ON DELETE CASCADE,
    task_index INTEGER NOT NULL,
    kind       TEXT NOT NULL DEFAULT 'rewrite',
    bucket     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    worker     TEXT,
    deadline   INTEGER,
    result     TEXT,
    payload    TEXT NOT NULL,
    sent_at    INTEGER,
    waits      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (process, task_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket        INTEGER NOT NULL,
    message_group TEXT NOT NULL,
    body          TEXT NOT NULL,
    visible_at    INTEGER NOT NULL,
    receive_count INTEGER NOT NULL,
    receipt       TEXT,
    dead          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX message_waiting ON message (bucket, dead, visible_at);
CREATE INDEX message_receipt ON message (receipt) WHERE receipt IS NOT NULL;

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

CREATE TABLE version (
    component TEXT NOT NULL,
    version   TEXT NOT NULL,
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    PRIMARY KEY (component, version)
) STRICT, WITHOUT ROWID;
