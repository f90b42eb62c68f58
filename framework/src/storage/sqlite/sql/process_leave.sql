DELETE FROM syncline_process WHERE id = $1
