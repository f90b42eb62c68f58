-- The first statements of a migration's transaction. The lock (its number is only ours) goes
-- with the transaction; a session's lock would stay behind when a run is cancelled, and a
-- connection pooler would lose it. Nobody waits for ever: not for another migration, and not
-- with a table lock requested, for then everybody else would wait behind us.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
-- What it makes must not depend on how this session reads a string, nor end in the middle of a table.
SET LOCAL standard_conforming_strings = on;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '60s';
SELECT pg_advisory_xact_lock(8316866846220742241);
SET LOCAL lock_timeout = '10s';
