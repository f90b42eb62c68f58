DROP PROCEDURE IF EXISTS syncline_enqueue;

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
