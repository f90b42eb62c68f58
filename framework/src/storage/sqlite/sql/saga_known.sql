-- Which of these instances are known here and not over.
SELECT s.id FROM json_each($1) AS one
JOIN syncline_saga AS s ON s.id = unhex(one.value)
WHERE s.ended_at IS NULL
