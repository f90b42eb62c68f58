-- A row is here while a migration is half done: so many of its statements are committed, and the
-- next one may have been when the run was cut off.
CREATE TABLE IF NOT EXISTS syncline_migration_step (
    version   BIGINT  NOT NULL PRIMARY KEY,
    up        BOOLEAN NOT NULL,
    done      BIGINT  NOT NULL,
    in_flight BOOLEAN NOT NULL
) ENGINE = InnoDB
