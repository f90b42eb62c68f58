WITH needed (name, privileges) AS (VALUES
    ('syncline_migrations', '{SELECT}'::text[]),
    ('syncline_node', '{SELECT}'),
    ('syncline_outbox', '{SELECT,INSERT,DELETE}'),
    ('syncline_seal', '{SELECT,INSERT,DELETE}'),
    ('syncline_delayed', '{SELECT,INSERT,DELETE}'),
    ('syncline_idempotency', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_lease', '{SELECT,INSERT,UPDATE}'),
    ('syncline_route', '{SELECT,INSERT,UPDATE}'),
    ('syncline_stream', '{SELECT,INSERT,UPDATE}'),
    ('syncline_member', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_inbox', '{SELECT,INSERT,UPDATE}'),
    ('syncline_parked', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_held', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_timer', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_compensated', '{SELECT,INSERT,DELETE}'),
    ('syncline_ahead', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_seen', '{SELECT,INSERT,DELETE}'),
    ('syncline_term', '{SELECT,INSERT,DELETE}'),
    ('syncline_incarnation', '{SELECT}'),
    ('syncline_trim', '{SELECT,UPDATE}'),
    ('syncline_anchor', '{SELECT,INSERT,UPDATE}'),
    ('syncline_mark', '{SELECT,INSERT,DELETE}'),
    ('syncline_set_aside', '{SELECT,INSERT,DELETE}'),
    ('syncline_process', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_operation', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_saga', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_saga_event', '{SELECT,INSERT,DELETE}'),
    ('syncline_saga_log', '{SELECT,INSERT,DELETE}'),
    ('syncline_saga_lock', '{SELECT,INSERT,DELETE}'),
    ('syncline_source', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('syncline_barrier', '{SELECT,INSERT,UPDATE,DELETE}')
)
SELECT privilege || ' on ' || name FROM needed, unnest(privileges) AS privilege
WHERE NOT has_table_privilege(to_regclass(name)::oid, privilege)
UNION ALL
SELECT 'USAGE on syncline_outbox_seq'
WHERE NOT has_sequence_privilege(to_regclass('syncline_outbox_seq')::oid, 'USAGE')
