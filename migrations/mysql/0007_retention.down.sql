ALTER TABLE syncline_route
    DROP COLUMN lost,
    DROP COLUMN alarm_at;

DROP TABLE syncline_mark;

DROP TABLE syncline_anchor;

DROP TABLE syncline_trim;
