DELETE FROM syncline_saga WHERE id IN (SELECT unhex(value) FROM json_each($1))
