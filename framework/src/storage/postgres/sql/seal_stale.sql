-- Whether transaction ids began anew since the last seal: the database was restored from a dump.
SELECT pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(snapshot)
FROM syncline_seal ORDER BY seal DESC LIMIT 1
