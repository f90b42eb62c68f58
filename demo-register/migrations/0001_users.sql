-- The same on PostgreSQL and SQLite.
CREATE TABLE users (
    id            TEXT   PRIMARY KEY,
    name          TEXT   NOT NULL,
    email         TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    status        TEXT   NOT NULL CHECK (status IN ('pending', 'active', 'rejected')),
    reason        TEXT,
    -- Of the values above, and the highest one given out so far.
    version       BIGINT NOT NULL,
    last_version  BIGINT NOT NULL
);

-- What was sent and may yet be refused, and the last values that were accepted.
CREATE TABLE user_versions (
    user_id       TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    version       BIGINT NOT NULL,
    message_id    TEXT   NOT NULL UNIQUE,
    name          TEXT   NOT NULL,
    email         TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    PRIMARY KEY (user_id, version)
);
