SELECT name, stream, position, seal, seq, updated_at FROM syncline_route ORDER BY name
