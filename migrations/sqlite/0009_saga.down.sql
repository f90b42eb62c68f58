DROP TABLE syncline_barrier;
