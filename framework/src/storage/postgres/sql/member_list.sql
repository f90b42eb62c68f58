SELECT route, holder FROM syncline_member WHERE expires_at > clock_timestamp() ORDER BY route, holder
