DROP FUNCTION syncline_enqueue(text, jsonb, text, jsonb, text, integer, uuid, text, interval, timestamptz);
DROP FUNCTION syncline_enqueue(text, text, text, jsonb, text, integer, uuid, text, interval, timestamptz);
DROP FUNCTION syncline_enqueue(text, bytea, text, jsonb, text, integer, uuid, text, interval, timestamptz);
DROP TABLE syncline_idempotency;
DELETE FROM syncline_timer WHERE kind = 'delayed';
DROP TABLE syncline_delayed;
ALTER TABLE syncline_outbox
    DROP CONSTRAINT syncline_outbox_topic,
    DROP CONSTRAINT syncline_outbox_key,
    DROP CONSTRAINT syncline_outbox_time,
    DROP CONSTRAINT syncline_outbox_content_type,
    DROP CONSTRAINT syncline_outbox_schema_version,
    DROP CONSTRAINT syncline_outbox_headers,
    DROP CONSTRAINT syncline_outbox_size;
