-- The same on PostgreSQL and SQLite. What was asked for and is not active yet: the saga that it
-- began makes the account of it. A refused one stays until the client deletes it.
CREATE TABLE registrations (
    user_id       TEXT PRIMARY KEY,
    saga          TEXT NOT NULL,
    name          TEXT NOT NULL,
    email         TEXT NOT NULL,
    display_name  TEXT,
    password_hash TEXT NOT NULL
);

-- name_key: two spellings of one name are one, and one user has it.
CREATE TABLE display_names (
    name_key TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    user_id  TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE
);

-- What users are written. No mail leaves the machine.
CREATE TABLE mailbox (
    id      TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX mailbox_user ON mailbox (user_id);
