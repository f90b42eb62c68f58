SELECT id, kind, name, host, pid, program, defined, problems, started_at, seen_at,
       CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM syncline_process
ORDER BY kind, name, started_at, id
