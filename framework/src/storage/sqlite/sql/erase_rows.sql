-- Position, id, key and topic stay: what travels from now on is a bare link.
UPDATE syncline_outbox
SET content_type = 'application/vnd.syncline.erased', schema_version = 1, headers = '{}', data = x''
WHERE seq IN (SELECT value FROM json_each($1))
