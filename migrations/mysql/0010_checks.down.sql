-- One constraint for seven is for PostgreSQL; here they stay as they are. The step is there, for the
-- steps are the same in every database.
DO 1;
