SELECT CONVERT(route USING utf8mb4), holder FROM syncline_member
WHERE expires_at > UTC_TIMESTAMP(6) ORDER BY route, holder
