-- An empty seal: everything up to sequence value $1 is sealed, and nothing is pending.
INSERT INTO syncline_seal
    (seal, first_position, count, seq_hi, prev_hi, prev2_hi, late_lo, snapshot, lows)
SELECT seal + 1, first_position + count, 0, $1, $1, $1, $1, pg_current_snapshot(), '{}'
FROM syncline_seal ORDER BY seal DESC LIMIT 1
