UPDATE syncline_timer SET due_at = due_at - ? WHERE kind = 'saga'
