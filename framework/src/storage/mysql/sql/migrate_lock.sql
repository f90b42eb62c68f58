-- The lock goes with the connection. Names of locks are the server's, so the database's is in it.
SELECT GET_LOCK(CONCAT('syncline:', LEFT(SHA2(DATABASE(), 256), 32)), 60)
