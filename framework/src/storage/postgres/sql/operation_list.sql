SELECT id, operator, command, target, why, (extract(epoch FROM began_at) * 1000)::bigint,
       (extract(epoch FROM ended_at) * 1000)::bigint, affected, problem
FROM syncline_operation
ORDER BY began_at DESC, id DESC
LIMIT $1
