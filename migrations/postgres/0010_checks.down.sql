ALTER TABLE syncline_outbox
    ADD CONSTRAINT syncline_outbox_topic CHECK (
        length(topic) <= 120 AND topic ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
        AND (left(topic, 9) <> 'syncline.' OR topic IN ('syncline.rejected', 'syncline.saga.reply'))) NOT VALID,
    ADD CONSTRAINT syncline_outbox_key CHECK (
        octet_length(key) BETWEEN 1 AND 255 AND key !~ '[\u0001-\u001f\u007f-\u009f]') NOT VALID,
    ADD CONSTRAINT syncline_outbox_time CHECK (
        time >= '1000-01-01 00:00+00' AND time < '9999-12-31 00:00+00') NOT VALID,
    ADD CONSTRAINT syncline_outbox_content_type CHECK (
        length(content_type) <= 120 AND content_type ~ '^[ -~]+$') NOT VALID,
    ADD CONSTRAINT syncline_outbox_schema_version CHECK (schema_version >= 1) NOT VALID,
    ADD CONSTRAINT syncline_outbox_headers CHECK (
        headers = '{}' OR json_typeof(headers::json) = 'object') NOT VALID,
    ADD CONSTRAINT syncline_outbox_size CHECK (
        octet_length(data) <= 4194304 AND octet_length(headers) <= 1048576) NOT VALID,
    DROP CONSTRAINT syncline_outbox_sendable;

DROP FUNCTION syncline_sendable(text, text, timestamptz, text, integer, text, bytea);
