UPDATE syncline_node SET incarnation = $1
WHERE set_config('synchronous_commit', 'on', true) = 'on'
