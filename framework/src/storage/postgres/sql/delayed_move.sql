-- Puts what is due into the outbox, in the order in which it is due: kind $1, owner $2, lease $3,
-- holder $4, epoch $5, limit $6. Whoever removes the timer moves its message: of two movers, or of
-- a mover and who cancels, the second one waits here and finds none.
WITH due AS MATERIALIZED (
    SELECT subject FROM syncline_timer
    WHERE kind = $1 AND owner = $2 AND due_at <= statement_timestamp()
      AND EXISTS (SELECT 1 FROM syncline_lease
                  WHERE name = $3 AND holder = $4 AND epoch = $5 AND expires_at > clock_timestamp())
    ORDER BY due_at, subject LIMIT $6 FOR UPDATE
), rung AS (
    DELETE FROM syncline_timer AS timer USING due
    WHERE timer.kind = $1 AND timer.owner = $2 AND timer.subject = due.subject
    RETURNING timer.subject, timer.due_at
), moved AS (
    DELETE FROM syncline_delayed AS message USING rung
    WHERE message.id = rung.subject::uuid
    RETURNING message.*, rung.due_at
)
INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data)
SELECT id, topic, key, time, content_type, schema_version, headers, data
FROM moved ORDER BY due_at, id
