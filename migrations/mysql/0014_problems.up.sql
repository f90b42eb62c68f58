-- Why a shard of a route does not move, as its sender has found it, and since when; nothing while it
-- moves. problem_kind: backoff, diverged, refused or trimmed.
ALTER TABLE syncline_route
    ADD COLUMN problem_kind VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN problem      LONGTEXT    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    ADD COLUMN problem_at   DATETIME(6);
