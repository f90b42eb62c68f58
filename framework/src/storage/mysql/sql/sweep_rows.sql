-- The rows (a JSON array of seq) are looked up one by one: a scan would wait for the rows of
-- transactions that are open.
DELETE syncline_outbox
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS batch
STRAIGHT_JOIN syncline_outbox FORCE INDEX (PRIMARY) ON syncline_outbox.seq = batch.seq
WHERE syncline_outbox.position > 0
