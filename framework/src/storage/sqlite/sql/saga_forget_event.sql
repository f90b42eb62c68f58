DELETE FROM syncline_saga_event WHERE saga_id IN (SELECT unhex(value) FROM json_each($1))
