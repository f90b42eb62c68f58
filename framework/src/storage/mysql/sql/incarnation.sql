SELECT incarnation FROM syncline_node
