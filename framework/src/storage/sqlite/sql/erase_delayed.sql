UPDATE syncline_delayed
SET content_type = 'application/vnd.syncline.erased', schema_version = 1, headers = '{}', data = x''
WHERE id = $1
