DROP TABLE syncline_set_aside;

ALTER TABLE syncline_timer
    DROP CONSTRAINT syncline_timer_subject,
    DROP CONSTRAINT syncline_timer_due_in_years_1000_to_9999;

ALTER TABLE syncline_delayed
    DROP CONSTRAINT syncline_delayed_size,
    DROP CONSTRAINT syncline_delayed_headers,
    DROP CONSTRAINT syncline_delayed_schema_version,
    DROP CONSTRAINT syncline_delayed_content_type,
    DROP CONSTRAINT syncline_delayed_time,
    DROP CONSTRAINT syncline_delayed_key,
    DROP CONSTRAINT syncline_delayed_topic;

ALTER TABLE syncline_outbox
    DROP CONSTRAINT syncline_outbox_day,
    DROP CONSTRAINT syncline_outbox_sealed;

ALTER TABLE syncline_outbox DROP COLUMN sealed;
