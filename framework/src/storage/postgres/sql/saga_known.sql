-- Which of these instances are known here and not over.
SELECT s.id FROM syncline_saga AS s
WHERE s.ended_at IS NULL
  AND s.id = ANY (ARRAY(SELECT id::uuid FROM json_array_elements_text($1::json) AS one (id)))
