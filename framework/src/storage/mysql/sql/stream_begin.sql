UPDATE syncline_stream SET after_position = ? WHERE name = ? AND version = ?
