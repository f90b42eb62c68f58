ALTER TABLE syncline_held
    DROP CONSTRAINT syncline_held_position,
    ADD CONSTRAINT syncline_held_consumer_source_key_position_key
        UNIQUE (consumer, source, key, position);
DROP TABLE syncline_term;
DROP TABLE syncline_incarnation;
