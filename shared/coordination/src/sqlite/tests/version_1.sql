-- A state file as version 1 left it: a table that is due in the fourth of its eight buckets, and one whose process runs.

CREATE TABLE bucket (
    bucket        INTEGER PRIMARY KEY,
    owner         TEXT,
    epoch         INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    last_swept_at INTEGER NOT NULL
) STRICT;

CREATE TABLE digest (
    database TEXT PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    digest   BLOB NOT NULL
) STRICT;

CREATE TABLE table_state (
    bucket             INTEGER NOT NULL,
    table_id           TEXT NOT NULL,
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
    active_process     TEXT,
    PRIMARY KEY (bucket, table_id)
) STRICT;
CREATE INDEX table_due ON table_state (bucket, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE process (
    process       TEXT PRIMARY KEY,
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
    header        TEXT NOT NULL
) STRICT;
CREATE INDEX process_of_table ON process (table_id, created_at);
CREATE INDEX process_ended ON process (created_at) WHERE state = 'ended';

CREATE TABLE task (
    process    TEXT NOT NULL REFERENCES process (process) ON DELETE CASCADE,
    task_index INTEGER NOT NULL,
    bucket     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    worker     TEXT,
    deadline   INTEGER,
    result     TEXT,
    payload    TEXT NOT NULL,
    sent_at    INTEGER,
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

INSERT INTO table_state VALUES
    (3, 'lake/sales/orders', 4, 'm1', 1760000000000, NULL, 1, 0, NULL, NULL, NULL, 0, NULL),
    (5, 'lake/sales/news', 2, NULL, NULL, NULL, 1, 1, 'm7', NULL, 'planned', 0, 'p');
INSERT INTO digest VALUES ('lake/sales', 4, x'0102');
INSERT INTO process VALUES
    ('p', 'lake/sales/news', 5, 2, 1760000000000, 'running', NULL, NULL, NULL, 0, 1, 1, '{}');
INSERT INTO task VALUES ('p', 0, 5, 0, 'queued', NULL, NULL, NULL, '{"inline":"{}"}', NULL);
PRAGMA user_version = 1;
