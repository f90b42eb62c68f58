-- The head is locked first: nobody seals meanwhile.
DELETE FROM syncline_outbox WHERE position = 0
