DELETE FROM syncline_delayed WHERE id IN (SELECT unhex(value) FROM json_each($1))
