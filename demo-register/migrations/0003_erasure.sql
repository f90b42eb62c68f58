-- The same on PostgreSQL and SQLite. Where the message stands that told of a version, so that its payload
-- is erased once it is answered; and the instance that registered a user, so that what it has left can be.
ALTER TABLE user_versions ADD COLUMN seq BIGINT;

CREATE TABLE registered (
    user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    saga    TEXT NOT NULL
);
