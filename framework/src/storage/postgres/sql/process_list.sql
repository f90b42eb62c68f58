SELECT id, kind, name, host, pid, program, defined, problems,
       (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM seen_at) * 1000)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM syncline_process
ORDER BY kind, name, started_at, id
