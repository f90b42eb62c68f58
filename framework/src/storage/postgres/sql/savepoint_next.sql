-- One round trip.
RELEASE SAVEPOINT syncline_step;
SAVEPOINT syncline_step
