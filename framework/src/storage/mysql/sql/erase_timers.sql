-- Locks the timers of delayed messages (a JSON array of ids, kind), in the array's order. By the primary key, as
-- who cancels does: an entry of another index that is locked before its row is locked in the other order.
SELECT 1 FROM JSON_TABLE(?, '$[*]' COLUMNS (
    subject VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS batch
STRAIGHT_JOIN syncline_timer AS t FORCE INDEX (PRIMARY) ON t.subject = CONVERT(batch.subject USING binary)
WHERE t.kind = ? AND t.owner = '' FOR UPDATE
