-- The same on PostgreSQL, SQLite, MariaDB and MySQL. Whose addresses get no login; in lower case.
CREATE TABLE blocked_domains (domain VARCHAR(255) NOT NULL PRIMARY KEY);
INSERT INTO blocked_domains (domain) VALUES ('spam.example');
