DELETE FROM syncline_source WHERE role = $1 AND source = $2
