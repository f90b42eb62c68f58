-- One round trip. The savepoint is gone when the server has rolled the transaction back.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
