ALTER TABLE syncline_route
    DROP COLUMN problem_at,
    DROP COLUMN problem,
    DROP COLUMN problem_kind,
    ALGORITHM = COPY;
