-- For databases that have functions. The step is there, for the steps are the same in every database.
SELECT 1;
