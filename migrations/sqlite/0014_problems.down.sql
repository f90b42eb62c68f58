ALTER TABLE syncline_route DROP COLUMN problem_at;
ALTER TABLE syncline_route DROP COLUMN problem;
ALTER TABLE syncline_route DROP COLUMN problem_kind;
