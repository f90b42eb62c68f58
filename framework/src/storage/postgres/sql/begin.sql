-- What is claimed and then read must not be read as it was before the claim, whatever the session's
-- level is. Whether the session may write stays what its administrator has set: a server that was
-- fenced that way is not written to.
BEGIN ISOLATION LEVEL READ COMMITTED
