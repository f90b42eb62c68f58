-- Takes the write lock at once. The savepoint is gone when the transaction has ended.
BEGIN IMMEDIATE;
SAVEPOINT syncline_secret
