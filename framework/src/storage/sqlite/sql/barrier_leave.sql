DELETE FROM syncline_barrier WHERE source = $1 AND saga_id = $2 AND step = $3 AND answer = ''
