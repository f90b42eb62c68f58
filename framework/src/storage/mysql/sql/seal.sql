-- The rows (a JSON array of seq, in order) get the positions after the one that was the last.
UPDATE syncline_outbox
JOIN JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, seq BIGINT PATH '$')) AS batch
     ON batch.seq = syncline_outbox.seq
SET syncline_outbox.position = ? + batch.place
WHERE syncline_outbox.position IS NULL
