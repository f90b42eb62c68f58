-- A transaction that writes has the only lock since it began.
SELECT 1
