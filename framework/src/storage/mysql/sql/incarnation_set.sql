UPDATE syncline_node SET incarnation = ?
