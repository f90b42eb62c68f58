-- What enqueue refuses is refused here as before, by one constraint for seven: PostgreSQL makes
-- each constraint ready anew for every INSERT, which took longer than the INSERT itself. A function
-- is ready.
CREATE FUNCTION syncline_sendable(
    topic text, key text, "time" timestamptz, content_type text, schema_version integer, headers text, data bytea
) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    -- Unknown (a key that is NULL) is allowed, as a constraint allows it.
    RETURN length(topic) <= 120 AND topic ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
        AND (left(topic, 9) <> 'syncline.' OR topic IN ('syncline.rejected', 'syncline.saga.reply'))
        AND octet_length(key) BETWEEN 1 AND 255 AND key !~ '[\u0001-\u001f\u007f-\u009f]'
        AND "time" >= '1000-01-01 00:00+00'::timestamptz AND "time" < '9999-12-31 00:00+00'::timestamptz
        AND length(content_type) <= 120 AND content_type ~ '^[ -~]+$'
        AND schema_version >= 1
        AND (headers = '{}' OR json_typeof(headers::json) = 'object')
        AND octet_length(data) <= 4194304 AND octet_length(headers) <= 1048576;
END
$$;

ALTER TABLE syncline_outbox
    ADD CONSTRAINT syncline_outbox_sendable CHECK (
        syncline_sendable(topic, key, time, content_type, schema_version, headers, data)) NOT VALID,
    DROP CONSTRAINT syncline_outbox_topic,
    DROP CONSTRAINT syncline_outbox_key,
    DROP CONSTRAINT syncline_outbox_time,
    DROP CONSTRAINT syncline_outbox_content_type,
    DROP CONSTRAINT syncline_outbox_schema_version,
    DROP CONSTRAINT syncline_outbox_headers,
    DROP CONSTRAINT syncline_outbox_size;
