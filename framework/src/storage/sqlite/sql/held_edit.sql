UPDATE syncline_held
SET original = coalesce(original, envelope), envelope = $1, edited_by = $2, edited_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE id = $3
