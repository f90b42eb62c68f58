-- As 0003_erasure.sql; names that are keys need a length, and compare by byte.
ALTER TABLE user_versions ADD COLUMN seq BIGINT;

CREATE TABLE registered (
    user_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    saga    VARCHAR(60)  CHARACTER SET utf8mb4 NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB;
