-- OR REPLACE keeps the rights that were granted on the procedure; MySQL does not know it.
/*!80016 DROP PROCEDURE IF EXISTS syncline_enqueue */ /*M! DO 1 */;

CREATE /*M! OR REPLACE */ PROCEDURE syncline_enqueue(
    IN  p_topic   VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_key     VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_data    LONGBLOB,
    IN  p_options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    OUT p_id      CHAR(36) CHARACTER SET ascii
)
SQL SECURITY INVOKER
syncline: BEGIN
    DECLARE refused VARCHAR(128) CHARACTER SET utf8mb4 DEFAULT NULL;
    DECLARE options LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT COALESCE(p_options, '{}');
    DECLARE headers LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT '{}';
    DECLARE written LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT '';
    DECLARE content_type VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'application/json';
    DECLARE media VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    DECLARE idempotency VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL;
    DECLARE name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT '';
    DECLARE value LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    DECLARE kind VARCHAR(20) CHARACTER SET utf8mb4;
    DECLARE version BIGINT DEFAULT 1;
    DECLARE bytes BIGINT DEFAULT LENGTH(p_data);
    DECLARE message BINARY(16) DEFAULT UNHEX(LEFT(SHA2(UUID(), 256), 32));
    DECLARE due DATETIME(6) DEFAULT NULL;
    DECLARE hash BINARY(32);
    DECLARE known_message BINARY(16);
    DECLARE known_hash BINARY(32);
    DECLARE known_seq BIGINT;
    SET p_id = NULL;
    IF (LENGTH(p_topic) BETWEEN 1 AND 120 AND p_topic NOT REGEXP '[^A-Za-z0-9._-]'
        AND LEFT(p_topic, 1) <> '.' AND RIGHT(p_topic, 1) <> '.' AND LOCATE('..', p_topic) = 0
        AND (LEFT(p_topic, 9) <> 'syncline.' OR p_topic IN ('syncline.rejected', 'syncline.saga.reply'))) IS NOT TRUE THEN
        SET refused = 'topic: 1 to 120 of A-Z a-z 0-9 . _ -, no empty part between dots, not beginning with syncline.';
    ELSEIF p_key IS NOT NULL
        AND (LENGTH(p_key) BETWEEN 1 AND 255 AND p_key NOT REGEXP '[[:cntrl:]]') IS NOT TRUE THEN
        SET refused = 'key: 1 to 255 bytes without control characters';
    ELSEIF p_data IS NULL THEN
        SET refused = 'data must not be NULL';
    ELSEIF (JSON_VALID(options) AND JSON_TYPE(options) = 'OBJECT') IS NOT TRUE THEN
        SET refused = 'options must be a JSON object, or NULL';
    END IF;
    WHILE refused IS NULL AND name IS NOT NULL DO
        SELECT MIN(k.name) INTO name
        FROM JSON_TABLE(JSON_KEYS(options), '$[*]' COLUMNS (name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS k
        WHERE k.name > name;
        IF name IS NOT NULL THEN
            SET kind = JSON_TYPE(JSON_EXTRACT(options, CONCAT('$."', name, '"')));
            SET value = JSON_UNQUOTE(JSON_EXTRACT(options, CONCAT('$."', name, '"')));
            IF name = 'headers' AND kind = 'OBJECT' THEN
                SET headers = value;
            ELSEIF name = 'content_type' AND kind = 'STRING' THEN
                SET content_type = LEFT(value, 512);
            ELSEIF name = 'schema_version' AND kind = 'INTEGER' AND LENGTH(value) <= 10 THEN
                SET version = CAST(value AS SIGNED);
            ELSEIF name = 'id' AND kind = 'STRING' AND LENGTH(value) = 36
                AND LENGTH(UNHEX(REPLACE(value, '-', ''))) = 16 THEN
                SET message = UNHEX(REPLACE(value, '-', ''));
            ELSEIF name = 'idempotency_key' AND kind = 'STRING'
                AND LENGTH(value) BETWEEN 1 AND 255 AND value NOT REGEXP '[[:cntrl:]]' THEN
                SET idempotency = value;
            ELSEIF name = 'delay_ms' AND kind = 'INTEGER' AND LENGTH(value) <= 13 AND due IS NULL THEN
                SET due = UTC_TIMESTAMP(6) + INTERVAL (CAST(value AS SIGNED) * 1000) MICROSECOND;
            ELSEIF name = 'deliver_at' AND kind = 'STRING' AND due IS NULL
                AND CAST(LEFT(value, 40) AS DATETIME(6)) IS NOT NULL THEN
                SET due = CAST(LEFT(value, 40) AS DATETIME(6));
            ELSE
                SET refused = CONCAT('option ', LEFT(name, 40), ' is unknown, or its value is not allowed');
            END IF;
        END IF;
    END WHILE;
    IF refused IS NULL AND (LENGTH(content_type) BETWEEN 1 AND 120 AND content_type NOT REGEXP '[^ -~]') IS NOT TRUE THEN
        SET refused = 'content_type: 1 to 120 visible ASCII characters and spaces';
    ELSEIF refused IS NULL AND version NOT BETWEEN 1 AND 2147483647 THEN
        SET refused = 'schema_version: schema versions count from 1';
    END IF;
    -- Written as enqueue writes them: in order, without spaces.
    SET name = '';
    WHILE refused IS NULL AND name IS NOT NULL DO
        SELECT MIN(k.name) INTO name
        FROM JSON_TABLE(JSON_KEYS(headers), '$[*]' COLUMNS (name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS k
        WHERE k.name > name;
        IF name IS NOT NULL THEN
            SET kind = JSON_TYPE(JSON_EXTRACT(headers, CONCAT('$."', name, '"')));
            SET value = JSON_UNQUOTE(JSON_EXTRACT(headers, CONCAT('$."', name, '"')));
            IF LENGTH(name) NOT BETWEEN 1 AND 20 OR name REGEXP '[^a-z0-9]'
                OR name IN ('id', 'source', 'specversion', 'type', 'subject', 'time', 'datacontenttype', 'dataschema', 'data',
                            'schemaversion', 'stream', 'shard', 'position', 'prev', 'previd', 'incarnation', 'through', 'last',
                            'lastid', 'foreignid', 'streamversion', 'oldshards', 'oldtopics', 'oldthrough',
                            'formerincarnation', 'formeragreed', 'formerlast', 'formerlastid') THEN
                SET refused = CONCAT('header ', LEFT(name, 40), ': names are 1 to 20 of a-z 0-9 and not reserved');
            ELSEIF (kind = 'STRING' AND LENGTH(value) <= 4096 AND value NOT REGEXP '[[:cntrl:]]') IS NOT TRUE THEN
                SET refused = CONCAT('header ', name, ': a string of at most 4,096 bytes without control characters');
            ELSE
                SET written = CONCAT(written, IF(written = '', '', ','), JSON_QUOTE(name), ':', JSON_QUOTE(value));
                SET bytes = bytes + LENGTH(name) + LENGTH(value);
            END IF;
        END IF;
    END WHILE;
    SET written = CONCAT('{', written, '}');
    SET media = LOWER(TRIM(SUBSTRING_INDEX(content_type, ';', 1)));
    IF refused IS NULL AND bytes > 1048576 THEN
        SET refused = CONCAT('the message has ', bytes, ' bytes; at most 1048576 are allowed: send a reference to the data instead');
    ELSEIF refused IS NULL AND (media = 'application/json' OR media LIKE '%+json')
        AND (JSON_VALID(CONVERT(p_data USING utf8mb4)) AND CONVERT(CONVERT(p_data USING utf8mb4) USING binary) = p_data) IS NOT TRUE THEN
        SET refused = 'the payload is not JSON, or is nested too deeply';
    END IF;
    IF refused IS NOT NULL THEN
        SET refused = LEFT(CONCAT('syncline_enqueue: ', refused), 128);
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = refused;
    END IF;
    IF idempotency IS NOT NULL THEN
        -- The content that enqueue compares, and in its order.
        SET hash = UNHEX(SHA2(CONCAT(
            CAST('syncline-1' AS BINARY),
            UNHEX(LPAD(HEX(LENGTH(p_topic)), 16, '0')), CAST(p_topic AS BINARY),
            UNHEX(LPAD(HEX(COALESCE(LENGTH(p_key), -1)), 16, '0')), CAST(COALESCE(p_key, '') AS BINARY),
            UNHEX(LPAD(HEX(LENGTH(content_type)), 16, '0')), CAST(content_type AS BINARY),
            UNHEX(LPAD(HEX(version), 16, '0')),
            UNHEX(LPAD(HEX(LENGTH(written)), 16, '0')), CAST(written AS BINARY),
            UNHEX(LPAD(HEX(LENGTH(p_data)), 16, '0')), p_data), 256));
        -- Waits for another transaction that takes the key, and locks what is there.
        INSERT INTO syncline_idempotency (`key`, message_id, digest) VALUES (idempotency, message, hash)
        ON DUPLICATE KEY UPDATE seq = seq;
        SELECT i.message_id, i.digest, i.seq INTO known_message, known_hash, known_seq
        FROM syncline_idempotency AS i WHERE i.`key` = CAST(idempotency AS BINARY) FOR UPDATE;
        IF known_seq IS NOT NULL AND known_hash <> hash THEN
            SET refused = LEFT(CONCAT('syncline_enqueue: the idempotency key was used for another content, message ', LOWER(HEX(known_message))), 128);
            SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = refused;
        END IF;
        SET message = IF(known_seq IS NULL, message, known_message);
    END IF;
    SET p_id = LOWER(HEX(message));
    SET p_id = CONCAT_WS('-', LEFT(p_id, 8), SUBSTRING(p_id, 9, 4), SUBSTRING(p_id, 13, 4), SUBSTRING(p_id, 17, 4), RIGHT(p_id, 12));
    IF known_seq IS NOT NULL THEN
        LEAVE syncline;
    END IF;
    IF due IS NULL THEN
        INSERT INTO syncline_outbox (id, topic, `key`, content_type, schema_version, headers, data)
        VALUES (message, p_topic, p_key, content_type, version, written, p_data);
        SET known_seq = LAST_INSERT_ID();
    ELSE
        INSERT INTO syncline_delayed (id, topic, `key`, time, content_type, schema_version, headers, data)
        VALUES (message, p_topic, p_key, UTC_TIMESTAMP(6), content_type, version, written, p_data);
        INSERT INTO syncline_timer (kind, owner, subject, due_at)
        VALUES ('delayed', '', LOWER(HEX(message)), due);
        SET known_seq = 0;
    END IF;
    IF idempotency IS NOT NULL THEN
        UPDATE syncline_idempotency AS i SET i.message_id = message, i.digest = hash, i.seq = known_seq
        WHERE i.`key` = CAST(idempotency AS BINARY);
    END IF;
END;
