-- The same on PostgreSQL and SQLite. email_key: two spellings of one address are one.
CREATE TABLE accounts (
    user_id       TEXT   PRIMARY KEY,
    name          TEXT   NOT NULL,
    email         TEXT   NOT NULL,
    email_key     TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    version       BIGINT NOT NULL
);
