-- As 0001_users.sql; names that are keys need a length, and compare by byte.
CREATE TABLE users (
    id            VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    name          TEXT         CHARACTER SET utf8mb4 NOT NULL,
    email         TEXT         CHARACTER SET utf8mb4 NOT NULL,
    password_hash TEXT         CHARACTER SET utf8mb4 NOT NULL,
    status        VARCHAR(20)  CHARACTER SET utf8mb4 NOT NULL CHECK (status IN ('pending', 'active', 'rejected')),
    reason        TEXT         CHARACTER SET utf8mb4,
    version       BIGINT       NOT NULL,
    last_version  BIGINT       NOT NULL
) ENGINE = InnoDB;

CREATE TABLE user_versions (
    user_id       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    version       BIGINT       NOT NULL,
    message_id    VARCHAR(60)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    name          TEXT         CHARACTER SET utf8mb4 NOT NULL,
    email         TEXT         CHARACTER SET utf8mb4 NOT NULL,
    password_hash TEXT         CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (user_id, version),
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB;
