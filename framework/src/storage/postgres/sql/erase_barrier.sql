UPDATE syncline_barrier SET answer = $1 WHERE source = $2 AND saga_id = $3 AND step = $4
