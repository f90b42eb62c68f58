DROP TABLE syncline_source;

ALTER TABLE syncline_saga
    DROP KEY syncline_saga_failing,
    DROP COLUMN failing_at,
    DROP COLUMN trouble,
    ALGORITHM = COPY;
