ALTER TABLE syncline_held DROP COLUMN edited_at;
ALTER TABLE syncline_held DROP COLUMN edited_by;
ALTER TABLE syncline_held DROP COLUMN original;
ALTER TABLE syncline_held DROP COLUMN unknown;
DROP TABLE syncline_seen;
DROP TABLE syncline_ahead;
