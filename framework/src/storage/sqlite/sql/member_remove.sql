-- Also those whose time has run out: they may be dead.
DELETE FROM syncline_member WHERE holder = $1 OR expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
