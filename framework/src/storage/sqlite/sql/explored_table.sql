CREATE TABLE IF NOT EXISTS syncline_explored (
    saga_id BLOB    NOT NULL,
    step    TEXT    NOT NULL,
    undo    INTEGER NOT NULL,
    at      INTEGER NOT NULL
)
