SELECT version FROM syncline_migrations WHERE FALSE;

SELECT version FROM syncline_migration_step WHERE FALSE;

SELECT one FROM syncline_node WHERE FALSE;

SELECT one FROM syncline_head WHERE FALSE;

UPDATE syncline_head SET position = position WHERE FALSE;

SELECT seq FROM syncline_outbox WHERE FALSE;

INSERT INTO syncline_outbox (topic, data) SELECT 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_outbox SET position = position WHERE FALSE;

DELETE FROM syncline_outbox WHERE FALSE;

SELECT id FROM syncline_delayed WHERE FALSE;

INSERT INTO syncline_delayed (id, topic, time, content_type, schema_version, headers, data)
SELECT 'x', 'x', NOW(), 'x', 1, 'x', 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_delayed WHERE FALSE;

SELECT seq FROM syncline_idempotency WHERE FALSE;

INSERT INTO syncline_idempotency (`key`, message_id, digest) SELECT 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_idempotency SET seq = seq WHERE FALSE;

DELETE FROM syncline_idempotency WHERE FALSE;

SELECT name FROM syncline_lease WHERE FALSE;

INSERT INTO syncline_lease (name, holder, epoch, expires_at) SELECT 'x', 'x', 0, NOW() FROM DUAL WHERE FALSE;

UPDATE syncline_lease SET epoch = epoch WHERE FALSE;

SELECT name FROM syncline_route WHERE FALSE;

INSERT INTO syncline_route (name, stream) SELECT 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_route SET seal = seal WHERE FALSE;

SELECT name FROM syncline_stream WHERE FALSE;

INSERT INTO syncline_stream (name, version, topics, shards) SELECT 'x', 1, 'x', 1 FROM DUAL WHERE FALSE;

UPDATE syncline_stream SET shards = shards WHERE FALSE;

SELECT route FROM syncline_member WHERE FALSE;

INSERT INTO syncline_member (route, holder, expires_at) SELECT 'x', 'x', NOW() FROM DUAL WHERE FALSE;

UPDATE syncline_member SET route = route WHERE FALSE;

DELETE FROM syncline_member WHERE FALSE;

SELECT shard FROM syncline_inbox WHERE FALSE;

INSERT INTO syncline_inbox (consumer, source, stream, version, shard, incarnation, watermark, last_position, last_id)
SELECT 'x', 'x', 'x', 1, 0, 'x', 0, 0, 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_inbox SET shard = shard WHERE FALSE;

SELECT source FROM syncline_parked WHERE FALSE;

INSERT INTO syncline_parked (consumer, source, `key`) SELECT 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_parked SET source = source WHERE FALSE;

DELETE FROM syncline_parked WHERE FALSE;

SELECT id FROM syncline_held WHERE FALSE;

INSERT INTO syncline_held (consumer, source, `key`, stream, shard, position, message_id, topic, envelope, reason)
SELECT 'x', 'x', 'x', 'x', 0, 0, 'x', 'x', 'x', 'behind' FROM DUAL WHERE FALSE;

UPDATE syncline_held SET dead = dead WHERE FALSE;

DELETE FROM syncline_held WHERE FALSE;

SELECT kind FROM syncline_timer WHERE FALSE;

INSERT INTO syncline_timer (kind, owner, subject, due_at) SELECT 'x', 'x', 'x', NOW() FROM DUAL WHERE FALSE;

UPDATE syncline_timer SET due_at = due_at WHERE FALSE;

DELETE FROM syncline_timer WHERE FALSE;

SELECT reason FROM syncline_compensated WHERE FALSE;

INSERT INTO syncline_compensated (message_id, rejected_by, reason) SELECT 'x', 'x', 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_compensated WHERE FALSE;

SELECT source FROM syncline_ahead WHERE FALSE;

INSERT INTO syncline_ahead (consumer, source, stream, shard, position, message_id, prev_position, prev_id)
SELECT 'x', 'x', 'x', 0, 0, 'x', 0, 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_ahead SET shard = shard WHERE FALSE;

DELETE FROM syncline_ahead WHERE FALSE;

SELECT source FROM syncline_seen WHERE FALSE;

INSERT INTO syncline_seen (consumer, source, id) SELECT 'x', 'x', 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_seen WHERE FALSE;

SELECT term FROM syncline_term WHERE FALSE;

INSERT INTO syncline_term (head) SELECT 0 FROM DUAL WHERE FALSE;

DELETE FROM syncline_term WHERE FALSE;

SELECT agreed FROM syncline_incarnation WHERE FALSE;

SELECT one FROM syncline_trim WHERE FALSE;

UPDATE syncline_trim SET seal = seal WHERE FALSE;

SELECT shard FROM syncline_anchor WHERE FALSE;

INSERT INTO syncline_anchor (stream, version, shard, position, id) SELECT 'x', 1, 0, 0, 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_anchor SET shard = shard WHERE FALSE;

SELECT position FROM syncline_mark WHERE FALSE;

INSERT INTO syncline_mark (position) SELECT 0 FROM DUAL WHERE FALSE;

DELETE FROM syncline_mark WHERE FALSE;

SELECT step FROM syncline_barrier WHERE FALSE;

INSERT INTO syncline_barrier (source, saga_id, step, answer) SELECT 'x', 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_barrier SET undone = undone WHERE FALSE;

DELETE FROM syncline_barrier WHERE FALSE;

SELECT id FROM syncline_saga WHERE FALSE;

INSERT INTO syncline_saga (id, saga, version, owner, start_key, status, input, state) SELECT 'x', 'x', 1, 'x', 'x', 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_saga SET status = status WHERE FALSE;

DELETE FROM syncline_saga WHERE FALSE;

SELECT id FROM syncline_saga_event WHERE FALSE;

INSERT INTO syncline_saga_event (saga_id, owner, event) SELECT 'x', 'x', 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_saga_event WHERE FALSE;

SELECT id FROM syncline_saga_log WHERE FALSE;

INSERT INTO syncline_saga_log (saga_id, what) SELECT 'x', 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_saga_log WHERE FALSE;

SELECT entity FROM syncline_saga_lock WHERE FALSE;

INSERT INTO syncline_saga_lock (entity, saga_id) SELECT 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_saga_lock SET entity = entity WHERE FALSE;

DELETE FROM syncline_saga_lock WHERE FALSE;

SELECT role FROM syncline_source WHERE FALSE;

INSERT INTO syncline_source (role, source, seen_at) SELECT 'x', 'x', UTC_TIMESTAMP(6) FROM DUAL WHERE FALSE;

UPDATE syncline_source SET role = role WHERE FALSE;

DELETE FROM syncline_source WHERE FALSE;

SELECT position FROM syncline_set_aside WHERE FALSE;

INSERT INTO syncline_set_aside (position, seq, problem) SELECT 1, 1, 'x' FROM DUAL WHERE FALSE;

DELETE FROM syncline_set_aside WHERE FALSE;

SELECT id FROM syncline_process WHERE FALSE;

INSERT INTO syncline_process (id, kind, name, host, pid, program, defined, problems)
SELECT 'x', 'relay', 'x', 'x', 1, 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_process SET pid = pid WHERE FALSE;

DELETE FROM syncline_process WHERE FALSE;

SELECT id FROM syncline_operation WHERE FALSE;

INSERT INTO syncline_operation (id, operator, command, target, why) SELECT 'x', 'x', 'x', 'x', 'x' FROM DUAL WHERE FALSE;

UPDATE syncline_operation SET affected = affected WHERE FALSE;

DELETE FROM syncline_operation WHERE FALSE
