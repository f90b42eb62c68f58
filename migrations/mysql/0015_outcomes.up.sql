-- The outcome of a shard's tries beside its problem (0014): how many have failed in a row, and when the
-- next one is. Who paused a route, why and when; nothing is known of one that was paused before.
ALTER TABLE syncline_route
    ADD COLUMN problem_tries   INT,
    ADD COLUMN problem_next_at DATETIME(6),
    ADD COLUMN paused_by       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN paused_why      LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN paused_at       DATETIME(6),
    -- As in 0014: columns that were dropped at once would stay in the rows, unseen.
    ALGORITHM = COPY;
