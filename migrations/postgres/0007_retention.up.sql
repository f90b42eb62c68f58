-- The outbox in partitions by seq, which are emptied whole. What is there becomes the first one;
-- a row that finds no other lands in the default one, so that no insert fails because nobody made
-- its partition in time.
LOCK TABLE syncline_outbox IN ACCESS EXCLUSIVE MODE;
ALTER TABLE syncline_outbox RENAME TO syncline_outbox_first;
ALTER TABLE syncline_outbox_first RENAME CONSTRAINT syncline_outbox_pkey TO syncline_outbox_first_pkey;

CREATE TABLE syncline_outbox (
    LIKE syncline_outbox_first INCLUDING DEFAULTS,
    CONSTRAINT syncline_outbox_pkey PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);
ALTER SEQUENCE syncline_outbox_seq OWNED BY syncline_outbox.seq;
CREATE TABLE syncline_outbox_default PARTITION OF syncline_outbox DEFAULT;

-- The bounds depend on what is there; its owner and the rights on it stay.
DO $$
DECLARE
    above bigint := (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM syncline_outbox_seq) + 1;
    owner regrole := (SELECT relowner FROM pg_class WHERE oid = 'syncline_outbox_first'::regclass);
    given record;
BEGIN
    EXECUTE format('ALTER TABLE syncline_outbox ATTACH PARTITION syncline_outbox_first '
                   'FOR VALUES FROM (MINVALUE) TO (%s)', above);
    EXECUTE format('CREATE TABLE %I PARTITION OF syncline_outbox FOR VALUES FROM (%s) TO (%s)',
                   'syncline_outbox_' || above, above, above + 100000);
    EXECUTE format('ALTER TABLE syncline_outbox OWNER TO %s', owner);
    EXECUTE format('ALTER TABLE syncline_outbox_default OWNER TO %s', owner);
    EXECUTE format('ALTER TABLE %I OWNER TO %s', 'syncline_outbox_' || above, owner);
    FOR given IN
        SELECT privilege_type, is_grantable, grantee
        FROM pg_class, aclexplode(relacl)
        WHERE oid = 'syncline_outbox_first'::regclass AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT %s ON syncline_outbox TO %s%s', given.privilege_type,
                       CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END,
                       CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END $$;

-- The trim point: what stands at or below it is no longer kept. seal is the last one up to it.
CREATE TABLE syncline_trim (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint  NOT NULL DEFAULT 0,
    seal     bigint  NOT NULL DEFAULT 0
);
INSERT INTO syncline_trim DEFAULT VALUES;

-- The last message of each shard at or below the trim point, for what comes after names it. An id
-- of noughts: there is none after the position.
CREATE TABLE syncline_anchor (
    stream   text    NOT NULL,
    version  integer NOT NULL,
    shard    integer NOT NULL,
    position bigint  NOT NULL,
    id       uuid    NOT NULL,
    PRIMARY KEY (stream, version, shard)
);

-- Where the log ended at a time, now and then: how old what stands below is.
CREATE TABLE syncline_mark (
    position bigint      PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- alarm_at: since when its checkpoint has been standing still for too long, or is too far behind.
-- lost: retention goes on without it.
ALTER TABLE syncline_route
    ADD COLUMN alarm_at timestamptz,
    ADD COLUMN lost     boolean NOT NULL DEFAULT false;
