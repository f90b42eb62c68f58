UPDATE syncline_node SET incarnation = $1
