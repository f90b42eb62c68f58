DELETE FROM syncline_timer WHERE kind = 'saga';
DROP TABLE syncline_saga_lock;
DROP TABLE syncline_saga_log;
DROP TABLE syncline_saga_event;
DROP TABLE syncline_saga;
DROP TABLE syncline_barrier;
