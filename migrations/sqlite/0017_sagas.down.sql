DROP TABLE syncline_source;
DROP INDEX syncline_saga_failing;
ALTER TABLE syncline_saga DROP COLUMN failing_at;
ALTER TABLE syncline_saga DROP COLUMN trouble;
