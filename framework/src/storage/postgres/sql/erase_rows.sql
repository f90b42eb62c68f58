-- Position, id, key and topic stay: what travels from now on is a bare link.
UPDATE syncline_outbox
SET content_type = 'application/vnd.syncline.erased', schema_version = 1, headers = '{}', data = ''
WHERE seq = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text($1::json) AS one (value)))
