DELETE FROM syncline_process WHERE id = ?
