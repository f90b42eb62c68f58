-- The last seal, of at most $3 after seal $1, that ends at or before position $2.
SELECT first_position + count - 1, seal FROM (
    SELECT seal, first_position, count FROM syncline_seal
    WHERE seal > $1 ORDER BY seal LIMIT $3
) AS next
WHERE first_position + count - 1 <= $2
ORDER BY seal DESC LIMIT 1
