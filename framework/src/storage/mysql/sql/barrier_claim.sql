SELECT CONVERT(answer USING utf8mb4), undone,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000
FROM syncline_barrier
WHERE source = ? AND saga_id = ? AND step = ?
FOR UPDATE
