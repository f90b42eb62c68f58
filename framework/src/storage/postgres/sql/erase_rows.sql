-- Position, id, key and topic stay: what travels from now on is a bare link. Locked in one order first: an
-- UPDATE locks rows as it finds them.
WITH locked AS MATERIALIZED (
    SELECT seq FROM syncline_outbox
    WHERE seq = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text($1::json) AS one (value)))
    ORDER BY seq FOR UPDATE
)
SELECT syncline_erase_rows((SELECT json_agg(seq) FROM locked))
