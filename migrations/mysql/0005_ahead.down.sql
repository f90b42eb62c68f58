ALTER TABLE syncline_held
    DROP COLUMN edited_at,
    DROP COLUMN edited_by,
    DROP COLUMN original,
    DROP COLUMN unknown;

DROP TABLE syncline_seen;

DROP TABLE syncline_ahead;
