-- The head is locked: nobody seals meanwhile. As unsealed.sql counts them.
DELETE FROM syncline_outbox WHERE position = 0
