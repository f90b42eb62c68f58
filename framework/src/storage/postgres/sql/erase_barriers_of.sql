SELECT source, step, answer FROM syncline_barrier
WHERE saga_id = $1 AND answer <> '' ORDER BY 1, 2
