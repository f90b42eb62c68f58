DELETE FROM syncline_timer AS t
USING json_to_recordset($1::json) AS r (owner text, subject text)
WHERE t.kind = 'saga' AND t.owner = r.owner AND t.subject = r.subject
