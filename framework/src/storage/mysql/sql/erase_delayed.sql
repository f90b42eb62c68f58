UPDATE syncline_delayed
SET content_type = 'application/vnd.syncline.erased', schema_version = 1, headers = '{}', data = ''
WHERE id = ?
