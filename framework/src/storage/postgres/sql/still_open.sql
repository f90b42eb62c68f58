-- None outside a transaction, and in one that has written nothing.
SELECT pg_current_xact_id_if_assigned()::text
