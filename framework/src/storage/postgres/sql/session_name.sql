SELECT nullif(current_setting('application_name'), '')
