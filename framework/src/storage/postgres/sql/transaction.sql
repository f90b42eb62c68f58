-- One id for a transaction with all its savepoints, and never again another one's.
SELECT pg_current_xact_id()::text
