-- Former incarnations of this database, and lost ones that an operator has named: what
-- follows them agrees with them up to a position.
CREATE TABLE syncline_incarnation (
    incarnation BINARY(16)  NOT NULL PRIMARY KEY,
    agreed      BIGINT      NOT NULL,
    ended_at    DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;

-- Where the log ended when a process began to seal it, the newest ones. The first one after a
-- backup was restored says how far the backup reached.
CREATE TABLE syncline_term (
    term     BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    head     BIGINT      NOT NULL,
    began_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;

-- After a restore a position can be another message's.
ALTER TABLE syncline_held
    DROP KEY syncline_held_position,
    ADD UNIQUE KEY syncline_held_position (consumer, source, `key`, position, message_id);
