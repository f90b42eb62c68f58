DROP TABLE syncline_head;

DROP TABLE syncline_outbox;

DROP TABLE syncline_node;
