DROP TABLE syncline_seal;
DROP TABLE syncline_outbox;
DROP TABLE syncline_node;
