-- The seals that hold positions after $2, from seal $1 on, each with what its predecessor
-- bounds it by.
SELECT s.seal, s.first_position, s.count, s.late_lo, s.seq_hi, s.snapshot::text AS snapshot,
       p.seq_hi AS prev_hi, p.snapshot::text AS prev_snapshot
FROM syncline_seal AS s JOIN syncline_seal AS p ON p.seal = s.seal - 1
WHERE s.seal >= $1 AND s.first_position + s.count - 1 > $2
ORDER BY s.seal LIMIT $3
