SELECT first_position + count - 1 FROM syncline_seal ORDER BY seal DESC LIMIT 1
