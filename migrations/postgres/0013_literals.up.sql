-- A pattern has backslashes, and what they mean depends on the session that runs the function.
ALTER FUNCTION syncline_sendable(text, text, timestamptz, text, integer, text, bytea)
    SET standard_conforming_strings = on;
ALTER FUNCTION syncline_enqueue(text, bytea, text, jsonb, text, integer, uuid, text, interval, timestamptz)
    SET standard_conforming_strings = on;
