UPDATE syncline_saga SET problem = NULL WHERE id = $1 AND ended_at IS NULL
