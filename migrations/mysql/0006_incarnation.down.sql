ALTER TABLE syncline_held
    DROP KEY syncline_held_position,
    ADD UNIQUE KEY syncline_held_position (consumer, source, `key`, position);

DROP TABLE syncline_term;

DROP TABLE syncline_incarnation;
