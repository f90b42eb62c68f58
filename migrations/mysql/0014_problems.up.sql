-- Why a shard of a route does not move, as its sender has found it, and since when; nothing while it
-- moves. problem_kind: backoff, diverged, refused or trimmed.
ALTER TABLE syncline_route
    ADD COLUMN problem_kind VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN problem      LONGTEXT    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN problem_at   DATETIME(6),
    -- Columns that were dropped at once stay in the rows, unseen; after many ways back and forth
    -- they have no room (1118).
    ALGORITHM = COPY;
