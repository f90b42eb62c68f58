-- Changes nothing, but needs the right to.
UPDATE syncline_node SET one = one WHERE one = 0
