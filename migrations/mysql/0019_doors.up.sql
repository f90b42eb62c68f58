-- syncline_enqueue takes and refuses exactly what enqueue does, and says so in its own words: JSON by its
-- grammar and not by the server's check, times with an offset, options of any name.
-- OR REPLACE keeps the rights that were granted on the procedure; MySQL does not know it.
/*!80016 DROP PROCEDURE IF EXISTS syncline_enqueue */ /*M! DO 1 */;

CREATE /*M! OR REPLACE */ PROCEDURE syncline_enqueue(
    IN  p_topic   LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_key     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
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
    DECLARE name LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL;
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
    DECLARE place INT DEFAULT 0;
    DECLARE minutes INT DEFAULT 0;
    DECLARE another BOOLEAN DEFAULT TRUE;
    -- In patterns a tilde stands for a backslash, which a literal must not have: what it means there
    -- depends on the mode. Quantifiers are possessive, and a space is written as its number: so the session's
    -- default_regex_flags change nothing.
    DECLARE odd_escape VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT REPLACE(
        '(?<!~~)(?:~~~~)*+~~[^"~~/bfnrtu]', '~', CHAR(92 USING utf8mb4));
    DECLARE not_visible VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT REPLACE(
        '[^~x20-~x7e]', '~', CHAR(92 USING utf8mb4));
    DECLARE of_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT REPLACE(
        '~A[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}~z', '~', CHAR(92 USING utf8mb4));
    DECLARE of_time VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT REPLACE(CONCAT(
        '~A(?:[1-8][0-9]{3}|9(?:[0-8][0-9]{2}|9(?:[0-8][0-9]|9[0-8])))-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])',
        '[Tt~x20](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:~.[0-9]{1,9}+)?+',
        '(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?+~z'), '~', CHAR(92 USING utf8mb4));
    -- The payload on its way to one byte: texts are 1, and other values 2, which JSON does not hold.
    DECLARE rest LONGBLOB;
    -- Bytes that no JSON has: control characters, and surrogates, which are UTF-8 here.
    DECLARE never VARBINARY(255) DEFAULT REPLACE(
        '[~x00-~x08~x0b~x0c~x0e-~x1f]|~xed[~xa0-~xbf]', '~', CHAR(92));
    DECLARE of_text VARBINARY(255) DEFAULT REPLACE(
        '"(?:[^"~~~x00-~x1f]++|~~(?:["~~/bfnrt]|u[0-9A-Fa-f]{4}))*+"', '~', CHAR(92));
    DECLARE of_scalar VARBINARY(255) DEFAULT REPLACE(
        'true|false|null|-?+(?:0|[1-9][0-9]*+)(?:~.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+', '~', CHAR(92));
    DECLARE of_space VARBINARY(255) DEFAULT REPLACE('[~x20~x09~x0a~x0d]++', '~', CHAR(92));
    DECLARE of_level VARBINARY(255) DEFAULT REPLACE(
        '~[(?:[~x01~x02](?:,[~x01~x02])*+)?+~]|~{(?:~x01:[~x01~x02](?:,~x01:[~x01~x02])*+)?+~}', '~', CHAR(92));
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
    ELSEIF (JSON_VALID(options) AND JSON_TYPE(options) = 'OBJECT' AND options NOT REGEXP odd_escape) IS NOT TRUE THEN
        SET refused = 'options must be a JSON object, or NULL';
    END IF;
    WHILE refused IS NULL AND place < JSON_LENGTH(JSON_KEYS(options)) DO
        SET name = JSON_UNQUOTE(JSON_EXTRACT(JSON_KEYS(options), CONCAT('$[', place, ']')));
        SET place = place + 1;
        -- Only then it stands in a path. As bytes: texts are compared without spaces at their ends.
        IF CAST(name AS BINARY) IN ('headers', 'content_type', 'schema_version', 'id', 'idempotency_key', 'delay_ms', 'deliver_at') THEN
            SET kind = JSON_TYPE(JSON_EXTRACT(options, CONCAT('$."', name, '"')));
            SET value = JSON_UNQUOTE(JSON_EXTRACT(options, CONCAT('$."', name, '"')));
        ELSE
            SET kind = 'UNKNOWN';
        END IF;
        IF name = 'headers' AND kind = 'OBJECT' THEN
            SET headers = value;
        ELSEIF name = 'content_type' AND kind = 'STRING' THEN
            SET content_type = LEFT(value, 512);
        ELSEIF name = 'schema_version' AND kind = 'INTEGER' AND LENGTH(value) <= 10 THEN
            SET version = CAST(value AS SIGNED);
        ELSEIF name = 'id' AND kind = 'STRING' AND value REGEXP of_id THEN
            SET message = UNHEX(REPLACE(value, '-', ''));
        ELSEIF name = 'idempotency_key' AND kind = 'STRING'
            AND LENGTH(value) BETWEEN 1 AND 255 AND value NOT REGEXP '[[:cntrl:]]' THEN
            SET idempotency = value;
        ELSEIF name IN ('delay_ms', 'deliver_at') AND due IS NOT NULL THEN
            SET refused = 'option delay_ms or deliver_at: give one of them';
        ELSEIF name = 'delay_ms' AND kind = 'INTEGER' AND LENGTH(value) <= 13 AND LEFT(value, 1) <> '-' THEN
            SET due = UTC_TIMESTAMP(6) + INTERVAL (CAST(value AS SIGNED) * 1000) MICROSECOND;
        ELSEIF name = 'deliver_at' AND kind = 'STRING' AND value REGEXP of_time THEN
            -- Every part is of digits and in its range: nothing here ends with an error of the server's.
            IF CAST(SUBSTRING(value, 9, 2) AS SIGNED) <= DAY(LAST_DAY(CONCAT(LEFT(value, 8), '01'))) THEN
                SET due = CAST(CONCAT(LEFT(value, 10), ' ', SUBSTRING(value, 12, 8)) AS DATETIME(6));
                IF SUBSTRING(value, 20, 1) = '.' THEN
                    SET due = due + INTERVAL CAST(RPAD(REGEXP_REPLACE(SUBSTRING(value, 21), '[^0-9].*+', ''), 6, '0') AS SIGNED) MICROSECOND;
                END IF;
                SET minutes = IF(LOCATE(SUBSTRING(value, -6, 1), '+-') = 0, 0,
                    CAST(SUBSTRING(value, -5, 2) AS SIGNED) * 60 + CAST(RIGHT(value, 2) AS SIGNED));
                SET due = due + INTERVAL IF(SUBSTRING(value, -6, 1) = '-', minutes, -minutes) MINUTE;
            END IF;
            IF (YEAR(due) BETWEEN 1000 AND 9998) IS NOT TRUE THEN
                SET refused = 'option deliver_at: a day of the calendar, of the years 1000 to 9998';
            END IF;
        ELSEIF name = 'deliver_at' AND kind = 'STRING' THEN
            SET refused = 'option deliver_at: like 2030-01-31 09:00:00 (UTC) or 2030-01-31T09:00:00+01:00, years 1000 to 9998';
        ELSE
            SET refused = CONCAT('option ', IF(name = '', '""', LEFT(COALESCE(name, '?'), 40)), ' is unknown, or its value is not allowed');
        END IF;
    END WHILE;
    IF refused IS NULL AND (LENGTH(content_type) BETWEEN 1 AND 120 AND content_type NOT REGEXP not_visible) IS NOT TRUE THEN
        SET refused = 'content_type: 1 to 120 visible ASCII characters and spaces';
    ELSEIF refused IS NULL AND version NOT BETWEEN 1 AND 2147483647 THEN
        SET refused = 'schema_version: schema versions count from 1';
    END IF;
    -- One that is too long for its column, below.
    IF refused IS NULL AND JSON_KEYS(headers) REGEXP '[^"]{129}' THEN
        SET refused = 'headers: names are 1 to 20 of a-z 0-9 and not reserved';
    END IF;
    -- Written as enqueue writes them: in order, without spaces.
    SET name = NULL;
    WHILE refused IS NULL AND another DO
        -- A name that cannot be read there is NULL.
        SELECT MIN(COALESCE(k.name, 'that cannot be read')) INTO value
        FROM JSON_TABLE(JSON_KEYS(headers), '$[*]' COLUMNS (name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS k
        WHERE name IS NULL OR COALESCE(k.name, 'that cannot be read') > name;
        SET another = value IS NOT NULL;
        SET name = value;
        IF NOT another THEN
            SET value = NULL;
        ELSEIF LENGTH(name) NOT BETWEEN 1 AND 20 OR name REGEXP '[^a-z0-9]'
            OR name IN ('id', 'source', 'specversion', 'type', 'subject', 'time', 'datacontenttype', 'dataschema', 'data',
                        'schemaversion', 'stream', 'shard', 'position', 'prev', 'previd', 'incarnation', 'through', 'last',
                        'lastid', 'foreignid', 'streamversion', 'oldshards', 'oldtopics', 'oldthrough',
                        'formerincarnation', 'formeragreed', 'formerlast', 'formerlastid') THEN
            SET refused = CONCAT('header ', LEFT(name, 40), ': names are 1 to 20 of a-z 0-9 and not reserved');
        ELSE
            SET kind = JSON_TYPE(JSON_EXTRACT(headers, CONCAT('$."', name, '"')));
            SET value = JSON_UNQUOTE(JSON_EXTRACT(headers, CONCAT('$."', name, '"')));
            IF (kind = 'STRING' AND LENGTH(value) <= 4096 AND value NOT REGEXP '[[:cntrl:]]') IS NOT TRUE THEN
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
    ELSEIF refused IS NULL AND (media = 'application/json' OR media LIKE '%+json') THEN
        SET rest = p_data;
        IF (CONVERT(CONVERT(p_data USING utf8mb4) USING binary) = p_data) IS NOT TRUE THEN
            SET rest = NULL;
        ELSEIF VERSION() NOT LIKE '%MariaDB%' THEN
            -- MySQL has no patterns for bytes; its own check is as strict.
            SET rest = IF(JSON_VALID(CONVERT(p_data USING utf8mb4)), X'01', NULL);
        ELSEIF rest REGEXP never THEN
            SET rest = NULL;
        ELSE
            -- JSON_VALID takes escapes and numbers that JSON does not have, refuses some that it has, and
            -- counts to 32 levels only. As bytes: each match of a text would check all of it anew.
            SET rest = REGEXP_REPLACE(rest, of_text, X'01');
            SET rest = REGEXP_REPLACE(rest, of_scalar, X'02');
            SET rest = REGEXP_REPLACE(rest, of_space, '');
            SET place = 0;
            WHILE place < 64 AND LENGTH(rest) > 1 DO
                SET rest = REGEXP_REPLACE(rest, of_level, X'02');
                SET place = place + 1;
            END WHILE;
        END IF;
        IF (HEX(LEFT(rest, 2)) IN ('01', '02')) IS NOT TRUE THEN
            SET refused = 'the payload is not JSON, or is nested deeper than 64 levels';
        END IF;
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
