-- From version 2, which did not know what runs, nor since when tables move to other buckets.

ALTER TABLE layout ADD COLUMN moving_since INTEGER;

CREATE TABLE version (
    component TEXT NOT NULL,
    version   TEXT NOT NULL,
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    PRIMARY KEY (component, version)
) STRICT, WITHOUT ROWID;
