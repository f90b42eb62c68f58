-- The newest one, also in a transaction that has an older view.
SELECT id, CONVERT(input USING utf8mb4) FROM syncline_saga
WHERE saga = ? AND start_key = ? LOCK IN SHARE MODE
