-- A table's name follows.
SELECT count(*) FROM
