-- JSON_TABLE stands first: its rows are looked up one by one.
SELECT CONVERT(lease.name USING utf8mb4), lease.epoch
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
STRAIGHT_JOIN syncline_lease AS lease FORCE INDEX (PRIMARY)
    ON lease.name = CAST(wanted.name AS BINARY)
WHERE lease.holder = ?
