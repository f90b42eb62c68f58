SELECT name, stream, position, seal, seq, (extract(epoch FROM updated_at) * 1000)::bigint
FROM syncline_route ORDER BY name
