UPDATE syncline_barrier SET answer = ? WHERE source = ? AND saga_id = ? AND step = ?
