-- Fails where nothing may be written, and changes nothing.
DELETE FROM syncline_timer WHERE kind = '' AND owner = '' AND subject = ''
