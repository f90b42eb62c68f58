UPDATE syncline_barrier AS b
SET answer = r.answer, undone = r.undone,
    touched_at = greatest(clock_timestamp(),
                          'epoch'::timestamptz + r.not_before * interval '1 millisecond')
FROM json_to_recordset($1::json)
     AS r (saga uuid, step text, answer text, undone boolean, not_before bigint)
WHERE b.source = $2 AND b.saga_id = r.saga AND b.step = r.step
  -- Looked up by their key, whatever the statistics are.
  AND b.saga_id = ANY (ARRAY(SELECT saga FROM json_to_recordset($1::json) AS a (saga uuid)))
