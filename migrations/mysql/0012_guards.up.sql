-- Guards for what other programs write.

-- The sealer alone gives positions, and says so in `sealed`: a row that brings a position of its own
-- would be a second one there. A time must be a day of the calendar, whatever the session allows.
ALTER TABLE syncline_outbox ADD COLUMN sealed TINYINT NOT NULL DEFAULT 0;

UPDATE syncline_outbox SET sealed = 1 WHERE position > 0;

UPDATE syncline_outbox SET time = UTC_TIMESTAMP(6)
WHERE (DATE(time) = FROM_DAYS(TO_DAYS(time)) AND time < '9999-12-31') IS NOT TRUE;

ALTER TABLE syncline_outbox
    ADD CONSTRAINT syncline_outbox_sealed CHECK ((
        (position = 0 AND sealed = 0) OR (position > 0 AND sealed = 1)) IS TRUE),
    ADD CONSTRAINT syncline_outbox_day CHECK ((
        DATE(time) = FROM_DAYS(TO_DAYS(time)) AND time < '9999-12-31') IS TRUE);

-- What the outbox would refuse must not wait to be moved there.
ALTER TABLE syncline_delayed
    ADD CONSTRAINT syncline_delayed_topic CHECK ((
        LENGTH(topic) BETWEEN 1 AND 120
        AND CONVERT(topic USING utf8mb4) COLLATE utf8mb4_bin NOT REGEXP '[^A-Za-z0-9._-]'
        AND LEFT(topic, 1) <> '.' AND RIGHT(topic, 1) <> '.' AND LOCATE('..', topic) = 0
        AND (LEFT(topic, 9) <> 'syncline.' OR topic IN ('syncline.rejected', 'syncline.saga.reply'))) IS TRUE),
    ADD CONSTRAINT syncline_delayed_key CHECK (`key` IS NULL OR (
        LENGTH(`key`) BETWEEN 1 AND 255
        AND CONVERT(CONVERT(`key` USING utf8mb4) USING binary) = `key`
        AND CONVERT(`key` USING utf8mb4) COLLATE utf8mb4_bin NOT REGEXP '[[:cntrl:]]') IS TRUE),
    ADD CONSTRAINT syncline_delayed_time CHECK ((
        DATE(time) = FROM_DAYS(TO_DAYS(time)) AND time >= '1000-01-01' AND time < '9999-12-31') IS TRUE),
    ADD CONSTRAINT syncline_delayed_content_type CHECK ((
        LENGTH(content_type) BETWEEN 1 AND 120
        AND CONVERT(content_type USING utf8mb4) COLLATE utf8mb4_bin NOT REGEXP '[^ -~]') IS TRUE),
    ADD CONSTRAINT syncline_delayed_schema_version CHECK (schema_version >= 1),
    ADD CONSTRAINT syncline_delayed_headers CHECK (headers = '{}' OR (
        JSON_VALID(CONVERT(headers USING utf8mb4))
        AND JSON_TYPE(CONVERT(headers USING utf8mb4)) = 'OBJECT') IS TRUE),
    ADD CONSTRAINT syncline_delayed_size CHECK (LENGTH(data) <= 4194304 AND LENGTH(headers) <= 1048576);

-- A timer that cannot be read would stop all of its kind. One that is out of range is due at once:
-- what it is for is seen, and decided anew.
UPDATE syncline_timer SET due_at = UTC_TIMESTAMP(6)
WHERE (DATE(due_at) = FROM_DAYS(TO_DAYS(due_at)) AND due_at >= '1000-01-01' AND due_at < '9999-12-31') IS NOT TRUE;

DELETE FROM syncline_timer
WHERE kind IN ('delayed', 'saga')
  AND (CONVERT(LEFT(subject, 32) USING utf8mb4) COLLATE utf8mb4_bin REGEXP '^[0-9a-f]{32}$') IS NOT TRUE;

ALTER TABLE syncline_timer
    ADD CONSTRAINT syncline_timer_due_in_years_1000_to_9999 CHECK ((
        DATE(due_at) = FROM_DAYS(TO_DAYS(due_at)) AND due_at >= '1000-01-01' AND due_at < '9999-12-31') IS TRUE),
    ADD CONSTRAINT syncline_timer_subject CHECK ((
        kind NOT IN ('delayed', 'saga')
        OR CONVERT(LEFT(subject, 32) USING utf8mb4) COLLATE utf8mb4_bin REGEXP '^[0-9a-f]{32}$') IS TRUE);

-- Rows of the log that cannot be read or sent: their positions are passed over. Removed with them.
CREATE TABLE syncline_set_aside (
    position BIGINT      NOT NULL PRIMARY KEY,
    seq      BIGINT      NOT NULL,
    problem  LONGTEXT    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at       DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;
