UPDATE syncline_held
SET original = coalesce(original, envelope), envelope = ?, edited_by = ?, edited_at = UTC_TIMESTAMP(6)
WHERE id = ?
