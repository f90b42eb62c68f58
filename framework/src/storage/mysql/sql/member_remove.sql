-- Also those whose time has run out: they may be dead.
DELETE FROM syncline_member WHERE holder = ? OR expires_at <= UTC_TIMESTAMP(6)
