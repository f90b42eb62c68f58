DELETE FROM syncline_term WHERE term <= (
    SELECT newest FROM (SELECT max(term) - ? AS newest FROM syncline_term) AS known
)
