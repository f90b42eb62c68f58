-- Position, id, key and topic stay: what travels from now on is a bare link.
SELECT syncline_erase_rows($1::json)
