-- The library says of its rows that it has checked them: the function is for rows of other programs.
-- PL/pgSQL makes a function's expressions ready anew in each transaction, which takes longer than
-- the INSERT of a row.
ALTER TABLE syncline_outbox
    ADD COLUMN checked boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT syncline_outbox_checked CHECK (
        checked OR syncline_sendable(topic, key, time, content_type, schema_version, headers, data)) NOT VALID,
    DROP CONSTRAINT syncline_outbox_sendable;
