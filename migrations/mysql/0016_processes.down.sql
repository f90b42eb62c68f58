DROP TABLE syncline_process;
