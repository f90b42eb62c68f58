SELECT id, operator, command, target, why, began_at, ended_at, affected, problem
FROM syncline_operation
ORDER BY began_at DESC, id DESC
LIMIT $1
