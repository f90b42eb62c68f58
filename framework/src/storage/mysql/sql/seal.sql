-- The rows (a JSON array of seq, in order) get the positions after the one that was the last. They
-- are looked up one by one: a scan would wait for the rows of transactions that are open.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, seq BIGINT PATH '$')) AS batch
STRAIGHT_JOIN syncline_outbox FORCE INDEX (PRIMARY) ON syncline_outbox.seq = batch.seq
SET syncline_outbox.position = ? + batch.place, syncline_outbox.sealed = 1
WHERE syncline_outbox.position = 0
