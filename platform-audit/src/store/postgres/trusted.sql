-- Who can go round the guard all the same: superusers, and owners.
SELECT COALESCE(json_agg(json_build_object('role', role, 'owns', owns) ORDER BY owns, role), '[]')::text FROM (
    SELECT rolname AS role, NULL AS owns FROM pg_roles WHERE rolsuper
    UNION
    SELECT pg_get_userbyid(nspowner), 'the audit schema {schema}' FROM pg_namespace WHERE nspname = '{schema}'
    UNION
    SELECT pg_get_userbyid(relowner), 'the guarded table ' || tgrelid::regclass
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE tgname = '{schema}_guard'
) AS trusted
