ALTER TABLE syncline_outbox
    ADD CONSTRAINT syncline_outbox_sendable CHECK (
        syncline_sendable(topic, key, time, content_type, schema_version, headers, data)) NOT VALID,
    DROP CONSTRAINT syncline_outbox_checked,
    DROP COLUMN checked;
