-- As 0001_accounts.sql; names that are keys need a length, and compare by byte.
CREATE TABLE accounts (
    user_id       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    name          TEXT         CHARACTER SET utf8mb4 NOT NULL,
    email         TEXT         CHARACTER SET utf8mb4 NOT NULL,
    email_key     VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    password_hash TEXT         CHARACTER SET utf8mb4 NOT NULL,
    version       BIGINT       NOT NULL
) ENGINE = InnoDB;
