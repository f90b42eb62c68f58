DELETE FROM syncline_timer
WHERE (kind, owner, subject) IN (
    SELECT 'saga', value ->> 'owner', value ->> 'subject' FROM json_each($1)
)
