-- From version 3, which did not note what was begun and never ended.

ALTER TABLE bucket ADD COLUMN last_begun_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE table_state ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
