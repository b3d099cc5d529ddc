-- The roles that can bypass the guard: superusers, owners, and roles that can become an owner.
-- These are the direct and indirect members of the owner, and before Postgres 16 also roles with
-- CREATEROLE, which could make themselves members.
WITH owner AS (
    SELECT nspowner AS role, 'the audit schema {schema}' AS owns FROM pg_namespace WHERE nspname = '{schema}'
    UNION
    SELECT relowner, 'the guarded table ' || tgrelid::regclass
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE tgname = '{schema}_guard'
)
SELECT COALESCE(json_agg(json_build_object('role', role, 'owns', owns, 'member_of', member_of) ORDER BY owns, member_of, role), '[]')::text FROM (
    SELECT rolname AS role, NULL AS owns, NULL AS member_of FROM pg_roles WHERE rolsuper
    UNION
    SELECT pg_get_userbyid(role), owns, NULL FROM owner
    UNION
    SELECT rolname, NULL, pg_get_userbyid(owner.role)
    FROM owner JOIN pg_roles ON pg_roles.oid <> owner.role AND NOT rolsuper
    WHERE pg_has_role(pg_roles.oid, owner.role, 'MEMBER')
        OR (rolcreaterole AND current_setting('server_version_num')::int < 160000
            AND NOT (SELECT rolsuper FROM pg_roles AS it WHERE it.oid = owner.role))
) AS trusted
