-- From version 4, which knew of no processes but rewrites.

ALTER TABLE process ADD COLUMN kind TEXT NOT NULL DEFAULT 'rewrite';
ALTER TABLE task ADD COLUMN kind TEXT NOT NULL DEFAULT 'rewrite';
