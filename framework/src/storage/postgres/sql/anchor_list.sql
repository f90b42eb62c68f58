SELECT stream, version, shard, position, id FROM syncline_anchor
