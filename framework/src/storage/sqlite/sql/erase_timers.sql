-- One transaction writes at a time: there is nothing to lock.
SELECT 1 WHERE $1 IS NULL AND $2 IS NULL
