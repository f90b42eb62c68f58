-- The timers of kind and owner whose subjects are in a JSON array.
DELETE FROM syncline_timer
WHERE subject IN (SELECT value FROM json_each($1)) AND kind = $2 AND owner = $3
