LOCK TABLE syncline_outbox IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM syncline_outbox;
