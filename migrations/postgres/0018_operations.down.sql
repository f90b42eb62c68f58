DROP TABLE syncline_operation;
