UPDATE syncline_head SET position = position + ? WHERE one = 1
