-- For PostgreSQL, whose functions have patterns. The step is there, for the steps are the same in every
-- database.
SELECT 1;
