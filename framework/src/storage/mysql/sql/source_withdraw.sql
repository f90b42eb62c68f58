DELETE FROM syncline_source WHERE role = ? AND source = ?
