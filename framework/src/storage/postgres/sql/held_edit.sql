UPDATE syncline_held
SET original = coalesce(original, envelope), envelope = $1, edited_by = $2, edited_at = clock_timestamp()
WHERE id = $3
