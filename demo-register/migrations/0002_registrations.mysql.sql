-- As 0002_registrations.sql; names that are keys need a length, and compare by byte.
CREATE TABLE registrations (
    user_id       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    saga          VARCHAR(60)  CHARACTER SET utf8mb4 NOT NULL,
    name          TEXT         CHARACTER SET utf8mb4 NOT NULL,
    email         TEXT         CHARACTER SET utf8mb4 NOT NULL,
    display_name  TEXT         CHARACTER SET utf8mb4,
    password_hash TEXT         CHARACTER SET utf8mb4 NOT NULL
) ENGINE = InnoDB;

CREATE TABLE display_names (
    name_key VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    name     TEXT         CHARACTER SET utf8mb4 NOT NULL,
    user_id  VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB;

CREATE TABLE mailbox (
    id      VARCHAR(60)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    user_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    subject TEXT         CHARACTER SET utf8mb4 NOT NULL,
    body    TEXT         CHARACTER SET utf8mb4 NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB;
