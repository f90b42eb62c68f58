-- The timers of kind and owner whose subjects are in a JSON array.
DELETE syncline_timer
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    subject VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS batch
STRAIGHT_JOIN syncline_timer ON syncline_timer.subject = CONVERT(batch.subject USING binary)
WHERE syncline_timer.kind = ? AND syncline_timer.owner = ?
