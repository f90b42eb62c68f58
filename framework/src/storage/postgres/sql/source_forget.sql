DELETE FROM syncline_source WHERE seen_at < clock_timestamp() - interval '1 day'
