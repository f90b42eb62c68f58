INSERT INTO syncline_compensated (message_id, rejected_by, reason) VALUES (?, ?, ?)
