-- The trim point's own seal stays: it bounds the one after it.
DELETE FROM syncline_seal WHERE seal = ANY (ARRAY(
    SELECT seal FROM syncline_seal WHERE seal < (SELECT seal FROM syncline_trim)
    ORDER BY seal LIMIT $1
))
