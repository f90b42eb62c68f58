-- Which step of an instance fails, and since when; nothing while none does.
ALTER TABLE syncline_saga
    ADD COLUMN trouble    LONGBLOB,
    ADD COLUMN failing_at DATETIME(6),
    ADD KEY syncline_saga_failing (failing_at),
    -- See 0014.
    ALGORITHM = COPY;

-- Under which source relays and saga engines work on this database, and when each was last seen. role:
-- relay or sagas.
CREATE TABLE syncline_source (
    role    VARBINARY(20)  NOT NULL,
    source  VARBINARY(255) NOT NULL,
    seen_at DATETIME(6)    NOT NULL,
    PRIMARY KEY (role, source)
) ENGINE = InnoDB;
