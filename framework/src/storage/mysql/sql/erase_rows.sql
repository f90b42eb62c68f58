-- Position, id, key and topic stay: what travels from now on is a bare link.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS one
STRAIGHT_JOIN syncline_outbox AS o ON o.seq = one.seq
SET o.content_type = 'application/vnd.syncline.erased', o.schema_version = 1, o.headers = '{}', o.data = ''
