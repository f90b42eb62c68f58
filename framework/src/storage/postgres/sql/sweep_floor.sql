-- No row with a sequence value up to the result is in a seal after the trim point's, or ever will
-- be: such a row commits in a transaction that was pending when that seal was made, or has a higher
-- value than the seal before it. It is the floor of that seal, which no later one falls below; so
-- every cursor is past the last seal that holds a row up to it.
SELECT least(prev_hi, (SELECT min(coalesce((lows ->> x::text)::bigint, prev2_hi))
                       FROM pg_snapshot_xip(snapshot) AS x))
FROM syncline_seal JOIN syncline_trim USING (seal)
