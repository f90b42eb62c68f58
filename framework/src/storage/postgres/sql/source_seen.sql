SELECT source FROM syncline_source
WHERE role = $1 AND seen_at >= clock_timestamp() - $2::bigint * interval '1 millisecond'
ORDER BY source
