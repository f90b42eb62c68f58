SELECT position, id FROM syncline_anchor
WHERE stream = $1 AND version = $2 AND shard = $3
