-- The update that changes nothing locks a row that is there.
INSERT INTO syncline_barrier (source, saga_id, step, answer) VALUES (?, ?, ?, '')
ON DUPLICATE KEY UPDATE step = step
