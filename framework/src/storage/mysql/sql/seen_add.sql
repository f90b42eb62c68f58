INSERT INTO syncline_seen (consumer, source, id) VALUES (?, ?, ?)
