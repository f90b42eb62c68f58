-- For PostgreSQL, whose checks cost more than the row. The step is there, for the steps are the same
-- in every database.
SELECT 1;
