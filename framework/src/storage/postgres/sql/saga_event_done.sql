DELETE FROM syncline_saga_event
WHERE id IN (SELECT id::bigint FROM json_array_elements_text($1::json) AS one (id))
