DELETE FROM syncline_barrier WHERE source = ? AND saga_id = ? AND step = ? AND answer = ''
