DELETE FROM syncline_term WHERE term <= (
    SELECT newest FROM (SELECT max(term) - $1 AS newest FROM syncline_term) AS known
)
