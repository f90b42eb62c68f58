SELECT s.seal, s.first_position, s.count, s.late_lo, s.seq_hi, s.snapshot::text AS snapshot,
       p.seq_hi AS prev_hi, p.snapshot::text AS prev_snapshot
FROM syncline_seal AS s JOIN syncline_seal AS p ON p.seal = s.seal - 1
WHERE s.first_position <= $1 AND s.count > 0
ORDER BY s.first_position DESC LIMIT 1
