SET LOCAL lock_timeout = '10s';
LOCK TABLE syncline_outbox IN SHARE ROW EXCLUSIVE MODE
