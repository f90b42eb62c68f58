UPDATE syncline_stream SET topics = ? WHERE name = ? AND version = ? AND topics = ''
