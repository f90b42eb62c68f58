-- Also those whose time has run out: they may be dead.
DELETE FROM syncline_member WHERE holder = $1 OR expires_at <= clock_timestamp()
