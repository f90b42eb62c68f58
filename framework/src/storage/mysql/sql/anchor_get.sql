SELECT position, id FROM syncline_anchor
WHERE stream = ? AND version = ? AND shard = ?
