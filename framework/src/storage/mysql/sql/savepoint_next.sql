-- One round trip.
RELEASE SAVEPOINT syncline_secret_step;
SAVEPOINT syncline_secret_step
