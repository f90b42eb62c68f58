SELECT seq FROM syncline_outbox WHERE position = ?
