DELETE FROM syncline_saga_event WHERE id IN (SELECT value FROM json_each($1))
