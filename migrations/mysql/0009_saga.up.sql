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

-- Instances of sagas that this service runs. owner is "saga/version", as in events and timers.
-- input and state are JSON. problem: why the engine cannot decide it; it waits for an operator.
CREATE TABLE syncline_saga (
    id         BINARY(16)     NOT NULL PRIMARY KEY,
    saga       VARBINARY(255) NOT NULL,
    version    INT            NOT NULL,
    owner      VARBINARY(255) NOT NULL,
    start_key  VARBINARY(255) NOT NULL,
    status     VARBINARY(20)  NOT NULL,
    input      LONGBLOB       NOT NULL,
    state      LONGBLOB       NOT NULL,
    problem    LONGBLOB,
    started_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    updated_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    stuck_at   DATETIME(6),
    ended_at   DATETIME(6),
    UNIQUE KEY syncline_saga_start (saga, start_key),
    KEY syncline_saga_ended (ended_at, saga, version),
    KEY syncline_saga_stuck (stuck_at)
) ENGINE = InnoDB;

-- What has happened to an instance and is not decided yet, as JSON.
CREATE TABLE syncline_saga_event (
    id      BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    saga_id BINARY(16)     NOT NULL,
    owner   VARBINARY(255) NOT NULL,
    event   LONGBLOB       NOT NULL,
    at      DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    KEY syncline_saga_event_saga (saga_id),
    KEY syncline_saga_event_owner (owner, id)
) ENGINE = InnoDB;

-- What became of an instance, step by step; only added to.
CREATE TABLE syncline_saga_log (
    id      BIGINT         NOT NULL AUTO_INCREMENT,
    saga_id BINARY(16)     NOT NULL,
    step    VARBINARY(255),
    what    VARBINARY(40)  NOT NULL,
    attempt INT,
    detail  LONGBLOB,
    at      DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (saga_id, id),
    KEY syncline_saga_log_id (id)
) ENGINE = InnoDB;

-- Entities that no other saga may lock until this one ends.
CREATE TABLE syncline_saga_lock (
    entity    VARBINARY(255) NOT NULL PRIMARY KEY,
    saga_id   BINARY(16)     NOT NULL,
    locked_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    KEY syncline_saga_lock_saga (saga_id)
) ENGINE = InnoDB;
