SELECT CONVERT(source USING utf8mb4), CONVERT(step USING utf8mb4), CONVERT(answer USING utf8mb4) FROM syncline_barrier
WHERE saga_id = ? AND answer <> '' ORDER BY 1, 2
