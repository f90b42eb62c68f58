SELECT head, began_at FROM syncline_term ORDER BY term
