ALTER TABLE syncline_route
    DROP COLUMN lost,
    DROP COLUMN alarm_at;
DROP TABLE syncline_mark;
DROP TABLE syncline_anchor;
DROP TABLE syncline_trim;

-- One table again. The rows keep the ids of their transactions, which the seals speak of.
LOCK TABLE syncline_outbox IN ACCESS EXCLUSIVE MODE;
ALTER SEQUENCE syncline_outbox_seq OWNED BY NONE;
ALTER TABLE syncline_outbox RENAME TO syncline_outbox_parts;
ALTER TABLE syncline_outbox_parts RENAME CONSTRAINT syncline_outbox_pkey TO syncline_outbox_parts_pkey;
CREATE TABLE syncline_outbox (LIKE syncline_outbox_parts INCLUDING DEFAULTS);
INSERT INTO syncline_outbox SELECT * FROM syncline_outbox_parts;
ALTER TABLE syncline_outbox ADD CONSTRAINT syncline_outbox_pkey PRIMARY KEY (seq);

DO $$
DECLARE
    given record;
BEGIN
    EXECUTE format('ALTER TABLE syncline_outbox OWNER TO %s', (
        SELECT relowner::regrole FROM pg_class WHERE oid = 'syncline_outbox_parts'::regclass));
    FOR given IN
        SELECT privilege_type, is_grantable, grantee
        FROM pg_class, aclexplode(relacl)
        WHERE oid = 'syncline_outbox_parts'::regclass AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT %s ON syncline_outbox TO %s%s', given.privilege_type,
                       CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END,
                       CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END $$;
DROP TABLE syncline_outbox_parts;
ALTER SEQUENCE syncline_outbox_seq OWNED BY syncline_outbox.seq;
