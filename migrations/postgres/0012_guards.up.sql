-- Guards for what other programs write.

-- The database gives a row its transaction id and its sequence value: a row that brings its own
-- would be sealed twice, late or never. No driver reads an infinite time. NOT VALID, so that a dump restores the rule after the rows.
ALTER TABLE syncline_outbox
    ADD CONSTRAINT syncline_outbox_given CHECK (
        xid = pg_current_xact_id() AND seq = currval('syncline_outbox_seq') AND isfinite(time)) NOT VALID;

-- What the outbox would refuse must not wait to be moved there.
ALTER TABLE syncline_delayed
    ADD CONSTRAINT syncline_delayed_sendable CHECK (
        syncline_sendable(topic, key, time, content_type, schema_version, headers, data)) NOT VALID;

-- A timer that cannot be read would stop all of its kind. One that is out of range is due at once:
-- what it is for is seen, and decided anew.
UPDATE syncline_timer SET due_at = clock_timestamp()
WHERE NOT (due_at >= '1000-01-01 00:00+00' AND due_at < '9999-12-31 00:00+00');
DELETE FROM syncline_timer
WHERE kind IN ('delayed', 'saga') AND left(subject, 32) !~ '^[0-9a-f]{32}$';
ALTER TABLE syncline_timer
    ADD CONSTRAINT syncline_timer_due_in_years_1000_to_9999 CHECK (
        due_at >= '1000-01-01 00:00+00' AND due_at < '9999-12-31 00:00+00'),
    ADD CONSTRAINT syncline_timer_subject CHECK (
        kind NOT IN ('delayed', 'saga')
        OR (length(subject) >= 32 AND translate(left(subject, 32), '0123456789abcdef', '') = ''));

-- Rows of the log that cannot be read or sent: their positions are passed over. Removed with them.
CREATE TABLE syncline_set_aside (
    position bigint      PRIMARY KEY,
    seq      bigint      NOT NULL,
    problem  text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
