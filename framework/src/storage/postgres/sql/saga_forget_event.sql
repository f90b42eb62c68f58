DELETE FROM syncline_saga_event WHERE saga_id IN (SELECT id::uuid FROM json_array_elements_text($1::json) AS one (id))
