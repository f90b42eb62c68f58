-- syncline_enqueue refuses, in its own words, what enqueue refuses: JSON that is nested deeper
-- than 64 levels, a negative delay, a time that no message may have.
CREATE OR REPLACE FUNCTION syncline_enqueue(
    topic           text,
    data            bytea,
    key             text        DEFAULT NULL,
    headers         jsonb       DEFAULT '{}',
    content_type    text        DEFAULT 'application/json',
    schema_version  integer     DEFAULT 1,
    id              uuid        DEFAULT NULL,
    idempotency_key text        DEFAULT NULL,
    delay           interval    DEFAULT NULL,
    deliver_at      timestamptz DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
    message   uuid := coalesce(syncline_enqueue.id, gen_random_uuid());
    media     text := lower(trim(split_part(syncline_enqueue.content_type, ';', 1)));
    due       timestamptz;
    payload   text;
    attribute record;
    written   text := '';
    bytes     bigint := octet_length(syncline_enqueue.data);
    content   bytea;
    known     record;
    place     bigint := 0;
BEGIN
    IF syncline_enqueue.topic IS NULL OR length(syncline_enqueue.topic) > 120
        OR syncline_enqueue.topic !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
        OR (left(syncline_enqueue.topic, 9) = 'syncline.' AND syncline_enqueue.topic NOT IN ('syncline.rejected', 'syncline.saga.reply')) THEN
        RAISE EXCEPTION 'syncline_enqueue: topic % is not allowed: 1 to 120 of A-Z a-z 0-9 . _ - with no empty part between dots, and not beginning with syncline.',
            coalesce(quote_literal(left(syncline_enqueue.topic, 80)), 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(syncline_enqueue.key) NOT BETWEEN 1 AND 255 OR syncline_enqueue.key ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'syncline_enqueue: the key is not allowed: 1 to 255 bytes without control characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF syncline_enqueue.data IS NULL THEN
        RAISE EXCEPTION 'syncline_enqueue: data must not be NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF syncline_enqueue.content_type IS NULL OR length(syncline_enqueue.content_type) > 120
        OR syncline_enqueue.content_type !~ '^[ -~]+$' THEN
        RAISE EXCEPTION 'syncline_enqueue: the content type is not allowed: 1 to 120 visible ASCII characters and spaces'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF syncline_enqueue.schema_version IS NULL OR syncline_enqueue.schema_version < 1 THEN
        RAISE EXCEPTION 'syncline_enqueue: schema versions count from 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(syncline_enqueue.idempotency_key) NOT BETWEEN 1 AND 255
        OR syncline_enqueue.idempotency_key ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'syncline_enqueue: the idempotency key is not allowed: 1 to 255 bytes without control characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF syncline_enqueue.delay IS NOT NULL AND syncline_enqueue.deliver_at IS NOT NULL THEN
        RAISE EXCEPTION 'syncline_enqueue: give a delay or a time to deliver at, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF syncline_enqueue.delay < interval '0' OR syncline_enqueue.delay > interval '7000 years' THEN
        RAISE EXCEPTION 'syncline_enqueue: a delay is not negative, and not longer than 7000 years' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF syncline_enqueue.deliver_at < '1000-01-01 00:00+00' OR syncline_enqueue.deliver_at >= '9999-01-01 00:00+00' THEN
        RAISE EXCEPTION 'syncline_enqueue: deliver_at is not allowed: times are of the years 1000 to 9998' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(coalesce(syncline_enqueue.headers, '{}')) <> 'object' THEN
        RAISE EXCEPTION 'syncline_enqueue: headers must be a JSON object of strings' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Written as enqueue writes them: in order, without spaces.
    FOR attribute IN
        SELECT h.key AS name, h.value AS value, h.value #>> '{}' AS content
        FROM jsonb_each(coalesce(syncline_enqueue.headers, '{}')) AS h ORDER BY h.key COLLATE "C"
    LOOP
        IF attribute.name !~ '^[a-z0-9]{1,20}$' OR attribute.name = ANY ('{id,source,specversion,type,subject,time,datacontenttype,dataschema,data,schemaversion,stream,shard,position,prev,previd,incarnation,through,last,lastid,foreignid,streamversion,oldshards,oldtopics,oldthrough,formerincarnation,formeragreed,formerlast,formerlastid}'::text[]) THEN
            RAISE EXCEPTION 'syncline_enqueue: header % is not allowed: names are 1 to 20 of a-z 0-9 and not reserved by CloudEvents or Syncline',
                quote_literal(left(attribute.name, 80)) USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF jsonb_typeof(attribute.value) <> 'string' OR octet_length(attribute.content) > 4096
            OR attribute.content ~ '[\u0001-\u001f\u007f-\u009f]' THEN
            RAISE EXCEPTION 'syncline_enqueue: the value of header % is not allowed: a string of at most 4,096 bytes without control characters',
                quote_literal(attribute.name) USING ERRCODE = 'invalid_parameter_value';
        END IF;
        written := written || CASE WHEN written = '' THEN '' ELSE ',' END
            || to_json(attribute.name)::text || ':' || to_json(attribute.content)::text;
        bytes := bytes + octet_length(attribute.name) + octet_length(attribute.content);
    END LOOP;
    written := '{' || written || '}';
    IF bytes > 1048576 THEN
        RAISE EXCEPTION 'syncline_enqueue: the message has % bytes; at most 1048576 are allowed: send a reference to the data instead', bytes
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF media = 'application/json' OR media LIKE '%+json' THEN
        BEGIN
            payload := convert_from(syncline_enqueue.data, 'UTF8');
            PERFORM payload::json;
        EXCEPTION WHEN data_exception OR statement_too_complex THEN
            RAISE EXCEPTION 'syncline_enqueue: the payload is not JSON: %', SQLERRM USING ERRCODE = 'invalid_parameter_value';
        END;
        -- With fewer brackets than levels there is nothing to count.
        IF length(payload) - length(translate(payload, '[{', '')) > 64 THEN
            -- Brackets of one kind, and no texts: each turn takes the innermost level away.
            payload := regexp_replace(payload, '"(?:[^"\\]|\\.)*"', '', 'g');
            payload := translate(regexp_replace(payload, '[^][{}]+', '', 'g'), '{}', '[]');
            FOR level IN 1..64 LOOP
                EXIT WHEN payload = '';
                payload := replace(payload, '[]', '');
            END LOOP;
            IF payload <> '' THEN
                RAISE EXCEPTION 'syncline_enqueue: the JSON payload is nested deeper than 64 levels' USING ERRCODE = 'invalid_parameter_value';
            END IF;
        END IF;
    END IF;
    due := coalesce(syncline_enqueue.deliver_at, clock_timestamp() + syncline_enqueue.delay);
    IF syncline_enqueue.idempotency_key IS NOT NULL THEN
        -- The content that enqueue compares, and in its order.
        content := sha256(convert_to('syncline-1', 'UTF8')
            || int8send(octet_length(syncline_enqueue.topic)) || convert_to(syncline_enqueue.topic, 'UTF8')
            || int8send(coalesce(octet_length(syncline_enqueue.key), -1)) || convert_to(coalesce(syncline_enqueue.key, ''), 'UTF8')
            || int8send(octet_length(syncline_enqueue.content_type)) || convert_to(syncline_enqueue.content_type, 'UTF8')
            || int8send(syncline_enqueue.schema_version)
            || int8send(octet_length(written)) || convert_to(written, 'UTF8')
            || int8send(octet_length(syncline_enqueue.data)) || syncline_enqueue.data);
        LOOP
            -- Waits for another transaction that takes the key.
            INSERT INTO syncline_idempotency (key, message_id, digest)
            VALUES (syncline_enqueue.idempotency_key, message, content) ON CONFLICT DO NOTHING;
            EXIT WHEN FOUND;
            SELECT i.message_id, i.digest, i.seq INTO known FROM syncline_idempotency AS i
            WHERE i.key = syncline_enqueue.idempotency_key FOR UPDATE;
            CONTINUE WHEN NOT FOUND;
            EXIT WHEN known.seq IS NULL;
            IF known.digest <> content THEN
                RAISE EXCEPTION 'syncline_enqueue: idempotency key % was used for another content, message %',
                    quote_literal(syncline_enqueue.idempotency_key), known.message_id USING ERRCODE = 'unique_violation';
            END IF;
            RETURN known.message_id;
        END LOOP;
    END IF;
    IF due IS NULL THEN
        INSERT INTO syncline_outbox AS o (id, topic, key, content_type, schema_version, headers, data)
        VALUES (message, syncline_enqueue.topic, syncline_enqueue.key, syncline_enqueue.content_type,
                syncline_enqueue.schema_version, written, syncline_enqueue.data)
        RETURNING o.seq INTO place;
    ELSE
        INSERT INTO syncline_delayed (id, topic, key, time, content_type, schema_version, headers, data)
        VALUES (message, syncline_enqueue.topic, syncline_enqueue.key, now(), syncline_enqueue.content_type,
                syncline_enqueue.schema_version, written, syncline_enqueue.data);
        INSERT INTO syncline_timer (kind, owner, subject, due_at)
        VALUES ('delayed', '', replace(message::text, '-', ''), due);
    END IF;
    IF syncline_enqueue.idempotency_key IS NOT NULL THEN
        UPDATE syncline_idempotency AS i
        SET message_id = message, digest = content, seq = place, xid = pg_current_xact_id()
        WHERE i.key = syncline_enqueue.idempotency_key;
    END IF;
    RETURN message;
END
$$;

-- An erased row is changed by another transaction than the one that inserted it: by this function alone, which
-- takes the setting back. As an attribute of the function it would need a right of its own.
ALTER TABLE syncline_outbox
    DROP CONSTRAINT syncline_outbox_given,
    ADD CONSTRAINT syncline_outbox_given CHECK (
        CASE WHEN content_type = 'application/vnd.syncline.erased'
                AND current_setting('syncline.erases', true) = 'on' THEN octet_length(data) = 0
            ELSE xid = pg_current_xact_id() AND seq = currval('syncline_outbox_seq') END
        AND isfinite(time)) NOT VALID;

CREATE FUNCTION syncline_erase_rows(seqs json) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('syncline.erases', 'on', true);
    RETURN QUERY UPDATE syncline_outbox
        SET content_type = 'application/vnd.syncline.erased', schema_version = 1, headers = '{}', data = ''
        WHERE seq = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text(seqs) AS one (value)))
        RETURNING seq;
    PERFORM set_config('syncline.erases', 'off', true);
END
$$;
