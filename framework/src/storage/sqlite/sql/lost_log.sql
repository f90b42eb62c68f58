SELECT count(*) FROM syncline_outbox;
