-- From version 4, which knew of no processes but rewrites, and of no tries that count for nothing.

ALTER TABLE process ADD COLUMN kind TEXT NOT NULL DEFAULT 'rewrite';
ALTER TABLE task ADD COLUMN kind TEXT NOT NULL DEFAULT 'rewrite';
ALTER TABLE process ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
