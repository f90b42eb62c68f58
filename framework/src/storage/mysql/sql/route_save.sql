-- All checkpoints in one statement, which commits by itself: whoever is frozen meanwhile leaves no
-- lock. The lease is named as changed so that it is read as committed and locked, before its route:
-- a take-over waits for this statement, or this statement sees it.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    route VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.route',
    version INT PATH '$.version',
    shard INT PATH '$.shard',
    position BIGINT PATH '$.position',
    seal BIGINT PATH '$.seal',
    seq BIGINT PATH '$.seq',
    last_position BIGINT PATH '$.last_position',
    last_id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.last_id',
    closed INT PATH '$.closed',
    lease VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.lease',
    holder CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.holder',
    epoch BIGINT PATH '$.epoch')) AS wanted
STRAIGHT_JOIN syncline_lease AS lease FORCE INDEX (PRIMARY)
    ON lease.name = CAST(wanted.lease AS BINARY) AND lease.epoch = wanted.epoch
   AND lease.holder = UNHEX(wanted.holder)
STRAIGHT_JOIN syncline_route AS route FORCE INDEX (PRIMARY)
    ON route.name = CAST(wanted.route AS BINARY) AND route.version = wanted.version
   AND route.shard = wanted.shard
SET route.position = wanted.position, route.seal = wanted.seal, route.seq = wanted.seq,
    route.last_position = wanted.last_position, route.last_id = UNHEX(wanted.last_id),
    route.closed = wanted.closed, route.alarm_at = NULL, route.lost = FALSE,
    route.updated_at = UTC_TIMESTAMP(6),
    lease.expires_at = lease.expires_at
