SELECT json_build_object('oid', child.oid::bigint, 'name', child.relname, 'bounds', pg_get_expr(child.relpartbound, child.oid))::text
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = '{schema}.record'::regclass
