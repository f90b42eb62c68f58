-- Which step of an instance fails, and since when; nothing while none does.
ALTER TABLE syncline_saga ADD COLUMN trouble TEXT;
ALTER TABLE syncline_saga ADD COLUMN failing_at INTEGER;
CREATE INDEX syncline_saga_failing ON syncline_saga (failing_at) WHERE failing_at IS NOT NULL;

-- Under which source relays and saga engines work on this database, and when each was last seen. role:
-- relay or sagas.
CREATE TABLE syncline_source (
    role    TEXT    NOT NULL,
    source  TEXT    NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (role, source)
);
