UPDATE syncline_head SET position = ? WHERE one = 1
