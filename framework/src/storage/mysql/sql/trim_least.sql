-- The cursor that is furthest behind, of those that retention waits for.
SELECT min(position) FROM syncline_route WHERE NOT closed AND NOT lost
