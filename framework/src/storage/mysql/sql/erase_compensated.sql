UPDATE syncline_compensated SET reason = '' WHERE message_id = ?
