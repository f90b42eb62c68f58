DROP TABLE syncline_route;

DROP TABLE syncline_lease;
