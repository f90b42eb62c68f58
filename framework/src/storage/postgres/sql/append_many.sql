INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data, checked)
SELECT id, topic, key, time, content_type, schema_version, headers, data, true
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::integer[],
            $7::text[], $8::bytea[])
     WITH ORDINALITY AS m (id, topic, key, time, content_type, schema_version, headers, data, n)
ORDER BY n
RETURNING seq, xid
