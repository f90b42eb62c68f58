SELECT CAST(@@auto_increment_increment AS UNSIGNED)
