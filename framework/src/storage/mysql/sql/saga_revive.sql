UPDATE syncline_saga SET problem = NULL WHERE id = ? AND ended_at IS NULL
