INSERT INTO syncline_explored (saga_id, step, undo, at) VALUES (?, ?, ?, ?)
