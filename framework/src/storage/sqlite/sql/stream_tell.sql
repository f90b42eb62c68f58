UPDATE syncline_stream SET topics = $1 WHERE name = $2 AND version = $3 AND topics = ''
