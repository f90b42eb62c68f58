-- Set after the connection is made, not when: a pooler drops what it does not know of a start-up
-- packet. What is frozen in a transaction of the relay's own is rolled back by the server, and nobody
-- waits longer for a lock than that takes.
SELECT set_config('default_transaction_isolation', 'read committed', false),
       set_config('standard_conforming_strings', 'on', false),
       set_config('synchronous_commit', 'on', false),
       set_config('idle_in_transaction_session_timeout', '4s', false),
       set_config('lock_timeout', '5s', false),
       -- Compiling one of its short statements takes longer than running it, and a wrong estimate is
       -- enough for it to be compiled.
       set_config('jit', 'off', false),
       -- What a policy would hide is an error.
       set_config('row_security', 'off', false)
