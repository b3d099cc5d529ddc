-- Everything that lets a change be committed without its record, or a record be changed:
-- $1 the role that the service connects as ('' is this connection's), $2 the schemas of its
-- tables (JSON array; '[]' is the current one and the one named like the service), $3 the service.
WITH app AS (
    SELECT oid, rolname, rolsuper FROM pg_roles WHERE rolname = COALESCE(NULLIF($1::text, ''), current_user)
), wanted AS (
    SELECT nspname FROM pg_namespace
    WHERE nspname <> '{schema}' AND CASE
        WHEN $2::json ->> 0 IS NULL THEN nspname IN (current_schema(), replace($3::text, '-', '_'))
        ELSE nspname IN (SELECT json_array_elements_text($2::json))
    END
), business AS (
    SELECT class.oid, {schema}.qualified(class.oid) AS name, relowner,
        EXISTS (SELECT FROM {schema}.exemption WHERE relation = {schema}.qualified(class.oid)) AS exempt
    FROM pg_class AS class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname IN (SELECT nspname FROM wanted)
        AND relkind IN ('r', 'p', 'f') AND NOT relispartition AND relpersistence <> 't'
        AND relname <> '_sqlx_migrations' -- the migrator's own bookkeeping
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e' -- an extension's
        )
), guards AS (
    SELECT business.name, trigger.tab, trigger.name AS trigger, trigger.enabled,
        bool_and(trigger.enabled IS NULL) OVER (PARTITION BY business.oid) AS bare
    FROM business CROSS JOIN LATERAL {schema}.guard_triggers(business.oid) AS trigger
    WHERE NOT exempt
), guarded AS (
    SELECT DISTINCT tab::oid AS oid FROM guards WHERE NOT bare
), records AS (
    SELECT relid AS tab FROM pg_partition_tree('{schema}.record')
), kept AS (
    SELECT tab, name, type, (
        SELECT tgenabled FROM pg_trigger
        WHERE tgrelid = tab AND tgname = name AND tgtype = type AND tgfoid = '{schema}.refuse_change()'::regprocedure
    ) AS enabled
    FROM records CROSS JOIN (VALUES ('record_append_only', 27), ('record_no_truncate', 34)) AS trigger (name, type)
), owned AS (
    SELECT class.oid, relowner, {schema}.qualified(class.oid) AS name
    FROM pg_class AS class
    WHERE class.oid IN (SELECT oid FROM business UNION SELECT oid FROM guarded UNION SELECT tab FROM records)
), made (owner, change) AS (
    -- What the guard is made of, besides the records.
    SELECT nspowner, 'ALTER SCHEMA {schema} OWNER TO' FROM pg_namespace WHERE nspname = '{schema}'
    UNION ALL SELECT proowner, format('ALTER FUNCTION %s OWNER TO', oid::regprocedure)
        FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace
    UNION ALL SELECT relowner, format('ALTER %s %s OWNER TO', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, {schema}.qualified(oid))
        FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'S') AND oid NOT IN (SELECT tab FROM records)
), findings (finding, object, detail) AS (
    SELECT DISTINCT 'table_unguarded', name, '' FROM guards WHERE bare
    UNION ALL SELECT 'guard_missing', tab::text, trigger::text FROM guards WHERE NOT bare AND enabled IS NULL
    UNION ALL SELECT 'guard_disabled', tab::text, trigger::text FROM guards WHERE enabled = 'D'
    UNION ALL SELECT 'guard_not_always', tab::text, trigger::text FROM guards WHERE enabled IN ('O', 'R')
    UNION ALL SELECT 'obligation_unchecked', '{schema}.truncation', 'truncation_demands_record' WHERE NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = '{schema}.truncation'::regclass AND tgname = 'truncation_demands_record'
            AND tgenabled = 'A' AND tgdeferrable AND tginitdeferred AND tgqual IS NULL AND tgfoid = '{schema}.demand_truncation()'::regprocedure
    )
    UNION ALL SELECT CASE WHEN enabled IS NULL THEN 'append_only_missing' ELSE 'append_only_not_always' END, tab::text, name
        FROM kept WHERE enabled IS DISTINCT FROM 'A'
    UNION ALL SELECT 'app_superuser', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE role.rolsuper AND (app.rolsuper AND role.oid = app.oid OR NOT app.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER'))
    -- What follows from being a superuser, or the owner, is not said again.
    UNION ALL SELECT 'app_owns_table', name, relowner::regrole::text FROM owned, app
        WHERE NOT rolsuper AND pg_has_role(app.oid, relowner, 'MEMBER')
    -- RESET ROLE is open to every statement.
    UNION ALL SELECT 'role_assumed', session_user, '' FROM pg_roles AS session
        WHERE $1::text = current_user AND session.rolname = session_user AND session_user <> current_user
            AND (session.rolsuper OR EXISTS (
                SELECT FROM (SELECT relowner FROM owned UNION SELECT owner FROM made) AS owner (role)
                WHERE pg_has_role(session.oid, role, 'MEMBER')))
    UNION ALL SELECT 'app_owns_schema', '{schema}', string_agg(format('%s the_owner_role;', change), ' ' ORDER BY change) FROM made, app
        WHERE NOT rolsuper AND pg_has_role(app.oid, owner, 'MEMBER') HAVING count(*) > 0
    -- Who owns a schema may drop its tables.
    UNION ALL SELECT DISTINCT 'app_owns_tables_schema', format('%I', nspname), nspowner::regrole::text
        FROM app, pg_namespace JOIN pg_class AS class ON relnamespace = pg_namespace.oid
        WHERE class.oid IN (SELECT oid FROM guarded) AND NOT rolsuper AND pg_has_role(app.oid, nspowner, 'MEMBER')
            -- It follows from becoming a superuser, who owns what others do not.
            AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER'))
    UNION ALL SELECT 'app_creates_roles', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE NOT app.rolsuper AND role.rolcreaterole AND NOT role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER')
            -- From Postgres 16 on it takes a right on the role that is given.
            AND current_setting('server_version_num')::int < 160000
    UNION ALL SELECT 'app_writes_files', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE NOT app.rolsuper AND role.rolname IN ('pg_execute_server_program', 'pg_write_server_files')
            AND pg_has_role(app.oid, role.oid, 'MEMBER')
    UNION ALL SELECT 'obligation_forgeable', '{schema}.met', '' FROM app, pg_class AS sequence
        WHERE sequence.oid = '{schema}.met'::regclass AND NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER')
            AND has_sequence_privilege(app.oid, sequence.oid, 'USAGE, UPDATE')
    UNION ALL SELECT 'trigger_granted', {schema}.qualified(class.oid), '' FROM app, pg_class AS class
        WHERE (class.oid IN (SELECT oid FROM guarded UNION SELECT tab FROM records) OR class.oid = '{schema}.truncation'::regclass)
            AND NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER') AND has_table_privilege(app.oid, class.oid, 'TRIGGER')
    UNION ALL SELECT 'truncate_granted', name, '' FROM owned, app
        WHERE NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER') AND has_table_privilege(app.oid, owned.oid, 'TRUNCATE')
            AND owned.oid IN (SELECT oid FROM guarded UNION SELECT tab FROM records)
    UNION ALL SELECT 'record_change_granted', name, privilege FROM owned, app, unnest(ARRAY['UPDATE', 'DELETE']) AS privilege
        WHERE NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER') AND owned.oid IN (SELECT tab FROM records)
            AND (has_table_privilege(app.oid, owned.oid, privilege)
                OR privilege = 'UPDATE' AND has_any_column_privilege(app.oid, owned.oid, 'UPDATE'))
    UNION ALL SELECT 'record_forgeable', name, attname::text FROM owned, app, pg_attribute
        WHERE NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER') AND owned.oid IN (SELECT tab FROM records)
            AND attrelid = owned.oid AND attname IN ('xid', 'recorded_at') AND has_column_privilege(app.oid, owned.oid, attnum, 'INSERT')
    UNION ALL SELECT 'rights_missing', '{schema}', '' FROM app
        WHERE NOT (has_schema_privilege(app.oid, '{schema}', 'USAGE')
            AND has_table_privilege(app.oid, '{schema}.record_insert', 'INSERT')
            AND has_function_privilege(app.oid, '{schema}.transaction_ended()', 'EXECUTE')
            AND has_table_privilege(app.oid, '{schema}.record', 'SELECT')
            AND has_function_privilege(app.oid, '{schema}.maintain(integer)', 'EXECUTE')
            AND has_function_privilege(app.oid, '{schema}.point_guard()', 'EXECUTE'))
    UNION ALL SELECT 'read_only', current_database(), CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'setting' END
        WHERE pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
    -- What is not a part of the log any more, nobody reads, and nothing keeps from being changed.
    UNION ALL SELECT 'partition_detached', {schema}.qualified(oid), CASE WHEN relname = 'record_default' THEN 'DEFAULT' ELSE format(
            'FOR VALUES FROM (%L) TO (%L)', to_date(right(relname, 7), 'YYYY_MM') || ' 00:00+00', (to_date(right(relname, 7), 'YYYY_MM') + interval '1 month')::date || ' 00:00+00') END
        FROM pg_class
        WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' AND relname ~ '^record_([0-9]{4}_[0-9]{2}|default)$'
            AND oid NOT IN (SELECT tab FROM records)
    -- Postgres 15 can grant it; before, only superusers can set it.
    UNION ALL SELECT 'replication_role_granted', rolname, '' FROM app
        WHERE NOT rolsuper AND {schema}.may_set_replication_role(app.oid)
    -- Unless its records are in the default partition already, where they stay.
    UNION ALL SELECT 'partition_missing', '{schema}.' || part, '' FROM (
        SELECT 'record_' || to_char(starts AT TIME ZONE 'UTC', 'YYYY_MM') AS part, starts, starts + interval '1 month' AS ends
        FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS starts) AS it
    ) AS next WHERE to_regclass('{schema}.' || part) IS NULL AND NOT EXISTS (
        SELECT FROM {schema}.record WHERE recorded_at >= starts AND recorded_at < ends)
)
SELECT COALESCE(json_agg(json_build_object('finding', finding, 'object', object, 'detail', detail) ORDER BY finding, object, detail), '[]')::text
FROM findings
