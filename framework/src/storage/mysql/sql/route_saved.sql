-- Which of the checkpoints are those of leases that still hold. An epoch that is over does not come
-- again: what holds now held when they were saved.
SELECT wanted.place
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    place INT PATH '$.place',
    route VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.route',
    version INT PATH '$.version',
    shard INT PATH '$.shard',
    lease VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.lease',
    holder CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.holder',
    epoch BIGINT PATH '$.epoch')) AS wanted
STRAIGHT_JOIN syncline_lease AS lease FORCE INDEX (PRIMARY)
    ON lease.name = CAST(wanted.lease AS BINARY) AND lease.epoch = wanted.epoch
   AND lease.holder = UNHEX(wanted.holder)
STRAIGHT_JOIN syncline_route AS route FORCE INDEX (PRIMARY)
    ON route.name = CAST(wanted.route AS BINARY) AND route.version = wanted.version
   AND route.shard = wanted.shard
