DELETE FROM syncline_timer AS t
USING json_array_elements_text($1::json) AS one (id), syncline_saga AS s
WHERE s.id = one.id::uuid AND t.kind = 'saga' AND t.owner = s.owner AND substr(t.subject, 1, 32) = one.id
