DELETE FROM syncline_operation WHERE began_at < clock_timestamp() - $1 * interval '1 millisecond'
