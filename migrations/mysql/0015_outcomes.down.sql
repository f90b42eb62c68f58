ALTER TABLE syncline_route
    DROP COLUMN paused_at,
    DROP COLUMN paused_why,
    DROP COLUMN paused_by,
    DROP COLUMN problem_next_at,
    DROP COLUMN problem_tries,
    ALGORITHM = COPY;
