-- One of the future was written when the clock was ahead: who still runs writes it again.
DELETE FROM syncline_process
WHERE seen_at < clock_timestamp() - $1 * interval '1 millisecond'
   OR seen_at > clock_timestamp() + interval '10 minutes'
