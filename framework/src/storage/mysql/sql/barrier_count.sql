SELECT count(*) FROM syncline_barrier WHERE source = ? AND answer <> ''
