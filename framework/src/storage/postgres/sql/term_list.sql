SELECT head, (extract(epoch FROM began_at) * 1000)::bigint FROM syncline_term ORDER BY term
