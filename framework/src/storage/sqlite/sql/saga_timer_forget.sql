DELETE FROM syncline_timer
WHERE kind = 'saga' AND substr(subject, 1, 32) IN (SELECT value FROM json_each($1))
  AND owner IN (SELECT s.owner FROM json_each($1) AS one
                JOIN syncline_saga AS s ON s.id = unhex(one.value))
