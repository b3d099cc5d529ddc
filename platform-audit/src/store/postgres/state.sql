-- The state of the schema and the privileges of this connection's role. Needs no privileges itself.
SELECT json_build_object(
    'role', current_user,
    'current_schema', current_schema(),
    'exists', found.oid IS NOT NULL,
    'migrated', migration.oid IS NOT NULL,
    'readable', COALESCE(has_schema_privilege(found.oid, 'USAGE') AND has_table_privilege(migration.oid, 'SELECT'), true),
    'reads', COALESCE(has_schema_privilege(found.oid, 'USAGE') AND has_table_privilege(records.oid, 'SELECT'), false),
    'may_migrate', COALESCE(pg_has_role(found.nspowner, 'USAGE'), has_database_privilege(current_database(), 'CREATE'))
)::text
FROM (SELECT) AS always
    LEFT JOIN pg_namespace AS found ON found.nspname = '{schema}'
    LEFT JOIN pg_class AS migration ON migration.relnamespace = found.oid AND migration.relname = 'migration'
    LEFT JOIN pg_class AS records ON records.relnamespace = found.oid AND records.relname = 'records'
