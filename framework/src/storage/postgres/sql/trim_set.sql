UPDATE syncline_trim SET position = $1, seal = $2 WHERE position = $3
  AND set_config('synchronous_commit', 'on', true) = 'on'
