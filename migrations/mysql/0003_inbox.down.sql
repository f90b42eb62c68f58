DROP TABLE syncline_compensated;

DROP TABLE syncline_timer;

DROP TABLE syncline_held;

DROP TABLE syncline_parked;

DROP TABLE syncline_inbox;
