-- The statement that drops partitions, by their quoted names.
SELECT 'DROP TABLE ' || string_agg(name, ', ') FROM unnest($1::text[]) AS name
