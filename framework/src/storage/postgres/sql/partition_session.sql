-- A lock that is not free soon is not waited for: what waits behind it would wait, too.
SET LOCAL lock_timeout = '100ms'
