-- The participant's barrier: what became of a step of another service's saga. answer is JSON;
-- undone: it was compensated, or barred by its compensation before it was applied.
CREATE TABLE syncline_barrier (
    source     VARBINARY(255) NOT NULL,
    saga_id    BINARY(16)     NOT NULL,
    step       VARBINARY(255) NOT NULL,
    answer     LONGBLOB       NOT NULL,
    undone     BOOLEAN        NOT NULL DEFAULT FALSE,
    touched_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (source, saga_id, step),
    KEY syncline_barrier_touched (touched_at)
) ENGINE = InnoDB;
