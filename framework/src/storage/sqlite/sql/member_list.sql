SELECT route, holder FROM syncline_member WHERE expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) ORDER BY route, holder
