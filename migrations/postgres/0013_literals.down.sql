ALTER FUNCTION syncline_sendable(text, text, timestamptz, text, integer, text, bytea)
    RESET standard_conforming_strings;
ALTER FUNCTION syncline_enqueue(text, bytea, text, jsonb, text, integer, uuid, text, interval, timestamptz)
    RESET standard_conforming_strings;
