UPDATE syncline_saga_log SET detail = NULL WHERE saga_id = $1
