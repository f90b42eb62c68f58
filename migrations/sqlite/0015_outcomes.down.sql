ALTER TABLE syncline_route DROP COLUMN paused_at;
ALTER TABLE syncline_route DROP COLUMN paused_why;
ALTER TABLE syncline_route DROP COLUMN paused_by;
ALTER TABLE syncline_route DROP COLUMN problem_next_at;
ALTER TABLE syncline_route DROP COLUMN problem_tries;
