-- Finds everything that would allow a change of the service's tables to be committed without its
-- record, except differences of the audit schema itself (see catalog.sql). $1 is the role that the
-- service connects as, and $2 the schemas of its tables (JSON array).
WITH RECURSIVE app AS (
    SELECT oid, rolname, rolsuper FROM pg_roles WHERE rolname = $1::text
), listed AS (
    SELECT class.oid, format('%I.%I', nspname, relname) AS name, relowner,
        EXISTS (SELECT FROM {schema}.exemption WHERE relation = format('%I.%I', nspname, relname)) AS exempt
    FROM pg_class AS class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname IN (SELECT json_array_elements_text($2::json)) AND nspname <> '{schema}'
        AND relkind IN ('r', 'p', 'f') AND NOT relispartition AND relpersistence <> 't'
        AND relname <> '_sqlx_migrations' -- the table in which sqlx lists the service's migrations
        AND NOT EXISTS (
            -- Belongs to an extension.
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
        )
), heirs AS (
    -- Tables and their inheritance children. The children's rows can be changed through the parent,
    -- but they do not inherit its row triggers.
    SELECT oid FROM listed WHERE NOT exempt
    UNION SELECT inhrelid FROM heirs JOIN pg_inherits ON inhparent = heirs.oid
), business AS (
    SELECT * FROM listed
    UNION SELECT class.oid, format('%I.%I', nspname, relname), relowner,
        EXISTS (SELECT FROM {schema}.exemption WHERE relation = format('%I.%I', nspname, relname))
    FROM heirs JOIN pg_class AS class ON class.oid = heirs.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE NOT relispartition
), tables AS (
    SELECT DISTINCT business.oid AS business, business.name AS whole, guarded_table.oid, format('%I.%I', nspname, relname) AS name
    FROM business
        CROSS JOIN LATERAL (SELECT relid::oid AS oid FROM pg_partition_tree(business.oid) UNION SELECT business.oid) AS guarded_table
        JOIN pg_class ON pg_class.oid = guarded_table.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE NOT exempt
), guards AS (
    SELECT tables.*, wanted.name AS trigger, tgenabled AS enabled,
        bool_and(tgenabled IS NULL) OVER (PARTITION BY business) AS bare
    FROM tables CROSS JOIN (VALUES
            ('{schema}_guard', 'CREATE CONSTRAINT TRIGGER {schema}_guard AFTER INSERT OR DELETE OR UPDATE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.require_record()'),
            ('{schema}_guard_truncate', 'CREATE TRIGGER {schema}_guard_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION {schema}.queue_truncate_check()')
        ) AS wanted (name, definition)
        LEFT JOIN pg_trigger ON tgrelid = tables.oid AND tgname = wanted.name AND pg_get_triggerdef(pg_trigger.oid) = format(wanted.definition, tables.name)
), guarded AS (
    SELECT DISTINCT oid FROM guards WHERE NOT bare
), owned AS (
    SELECT oid, relowner, format('%s.%I', relnamespace::regnamespace, relname) AS name
    FROM pg_class WHERE oid IN (SELECT oid FROM business UNION SELECT oid FROM guarded)
), made (owner, change) AS (
    SELECT nspowner, 'ALTER SCHEMA {schema} OWNER TO' FROM pg_namespace WHERE nspname = '{schema}'
    UNION ALL SELECT proowner, format('ALTER FUNCTION %s OWNER TO', oid::regprocedure)
        FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace
            AND prorettype <> 'event_trigger'::regtype -- belongs to an administrator
    UNION ALL SELECT relowner, format('ALTER %s %s.%I OWNER TO', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, '{schema}', relname)
        FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p', 'S', 'v')
    UNION ALL SELECT typowner, format('ALTER DOMAIN %s OWNER TO', oid::regtype)
        FROM pg_type WHERE typnamespace = '{schema}'::regnamespace AND typtype = 'd'
), assumable AS (
    -- Roles that the service's role can assume: SET ROLE also works without INHERIT.
    SELECT role.oid FROM app JOIN pg_roles AS role ON pg_has_role(app.oid, role.oid, 'MEMBER') WHERE NOT role.rolsuper
), setting (name, value, safe) AS (
    -- The effective value: a setting of the role in this database overrides one of the role, which
    -- overrides one of the database, which overrides the server's.
    SELECT pg_settings.name, CASE WHEN $1::text = session_user THEN pg_settings.setting ELSE COALESCE((
            SELECT split_part(config, '=', 2) FROM pg_db_role_setting CROSS JOIN LATERAL unnest(setconfig) AS config
            WHERE (setrole = app.oid OR setrole = 0) AND (setdatabase = 0 OR setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND split_part(config, '=', 1) = pg_settings.name
            ORDER BY setrole <> 0 DESC, setdatabase <> 0 DESC LIMIT 1
        ), reset_val) END, safe
    FROM app, pg_settings JOIN (VALUES ('synchronous_commit', 'on'), ('session_replication_role', 'origin'), ('event_triggers', 'on')) AS wanted (name, safe)
        ON wanted.name = pg_settings.name
), findings (finding, object, detail) AS (
    SELECT DISTINCT 'table_unguarded', whole, '' FROM guards WHERE bare
    UNION ALL SELECT 'guard_missing', name, trigger FROM guards WHERE NOT bare AND enabled IS NULL
    UNION ALL SELECT 'guard_disabled', name, trigger FROM guards WHERE enabled = 'D'
    UNION ALL SELECT 'guard_not_always', name, trigger FROM guards WHERE enabled IN ('O', 'R')
    UNION ALL SELECT 'app_superuser', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE role.rolsuper AND (app.rolsuper AND role.oid = app.oid OR NOT app.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER'))
    -- From here on, consequences of being a superuser or an owner are not reported again.
    UNION ALL SELECT 'app_owns_table', name, relowner::regrole::text FROM owned, app
        WHERE NOT rolsuper AND pg_has_role(app.oid, relowner, 'MEMBER')
    -- A session that assumed its role with SET ROLE can leave it again with RESET ROLE.
    UNION ALL SELECT 'role_assumed', session_user, '' FROM pg_roles AS session
        WHERE $1::text = current_user AND session.rolname = session_user AND session_user <> current_user
            AND (session.rolsuper OR EXISTS (
                SELECT FROM (SELECT relowner FROM owned UNION SELECT owner FROM made) AS owner (role)
                WHERE pg_has_role(session.oid, role, 'MEMBER')))
    UNION ALL SELECT 'app_owns_schema', '{schema}', string_agg(format('%s the_owner_role;', change), ' ' ORDER BY change) FROM made, app
        WHERE NOT rolsuper AND pg_has_role(app.oid, owner, 'MEMBER') HAVING count(*) > 0
    -- The owner of a schema may drop its tables.
    UNION ALL SELECT DISTINCT 'app_owns_tables_schema', format('%I', nspname), nspowner::regrole::text
        FROM app, pg_namespace JOIN pg_class AS class ON relnamespace = pg_namespace.oid
        WHERE class.oid IN (SELECT oid FROM guarded) AND NOT rolsuper AND pg_has_role(app.oid, nspowner, 'MEMBER')
            -- Not reported for roles that can become a superuser: that is a finding of its own.
            AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER'))
    UNION ALL SELECT 'app_owns_database', format('%I', datname), datdba::regrole::text FROM pg_database, app
        WHERE datname = current_database() AND NOT rolsuper AND pg_has_role(app.oid, datdba, 'MEMBER')
            AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER'))
    UNION ALL SELECT 'app_creates_roles', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE NOT app.rolsuper AND role.rolcreaterole AND NOT role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER')
            -- From Postgres 16 on, CREATEROLE grants only roles with ADMIN OPTION.
            AND current_setting('server_version_num')::int < 160000
    -- Predefined roles grant more than table privileges: access to files, all data or other
    -- sessions.
    UNION ALL SELECT 'app_privileged', app.rolname, role.rolname FROM app, pg_roles AS role
        WHERE NOT app.rolsuper AND role.oid < 16384 AND starts_with(role.rolname, 'pg_') AND role.rolname <> 'pg_database_owner'
            AND pg_has_role(app.oid, role.oid, 'MEMBER')
            -- Without roles that are implied by another predefined role or by a superuser.
            AND NOT EXISTS (
                SELECT FROM pg_roles AS other WHERE other.oid <> role.oid AND pg_has_role(app.oid, other.oid, 'MEMBER')
                    AND (other.rolsuper OR other.oid < 16384 AND pg_has_role(other.oid, role.oid, 'MEMBER')))
    UNION ALL SELECT 'app_privileged', role.rolname, attribute FROM app, pg_roles AS role
        CROSS JOIN LATERAL (VALUES ('REPLICATION', rolreplication), ('BYPASSRLS', rolbypassrls)) AS it (attribute, held)
        WHERE NOT app.rolsuper AND held AND NOT role.rolsuper AND pg_has_role(app.oid, role.oid, 'MEMBER')
    UNION ALL SELECT 'trigger_granted', name, '' FROM app, owned
        WHERE owned.oid IN (SELECT oid FROM guarded)
            AND NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER')
            AND EXISTS (SELECT FROM assumable WHERE has_table_privilege(assumable.oid, owned.oid, 'TRIGGER'))
    UNION ALL SELECT 'truncate_granted', name, '' FROM owned, app
        WHERE owned.oid IN (SELECT oid FROM guarded)
            AND NOT rolsuper AND NOT pg_has_role(app.oid, relowner, 'MEMBER')
            AND EXISTS (SELECT FROM assumable WHERE has_table_privilege(assumable.oid, owned.oid, 'TRUNCATE'))
    UNION ALL SELECT 'privileges_missing', '{schema}', '' FROM app
        WHERE NOT (has_schema_privilege(app.oid, '{schema}', 'USAGE')
            AND has_table_privilege(app.oid, '{schema}.record_insert', 'INSERT')
            AND has_function_privilege(app.oid, '{schema}.transaction_ended()', 'EXECUTE')
            AND has_table_privilege(app.oid, '{schema}.record', 'SELECT')
            AND has_function_privilege(app.oid, '{schema}.maintain(integer)', 'EXECUTE')
            AND has_function_privilege(app.oid, '{schema}.set_guard_partition()', 'EXECUTE'))
    UNION ALL SELECT 'read_only', current_database(), CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'setting' END
        WHERE pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
    UNION ALL SELECT 'setting_unsafe', name, safe FROM setting, app
        WHERE NOT rolsuper AND (value <> safe AND name <> 'synchronous_commit' OR value = 'off')
    -- From Postgres 15 on, others than superusers can be granted to set session_replication_role.
    UNION ALL SELECT 'replication_role_granted', rolname, '' FROM app
        WHERE NOT rolsuper AND EXISTS (SELECT FROM assumable WHERE {schema}.may_set_replication_role(assumable.oid))
    -- Not reported if the default partition already contains records of that month: they stay
    -- there.
    UNION ALL SELECT 'partition_missing', '{schema}.' || part, '' FROM (
        SELECT 'record_' || to_char(starts AT TIME ZONE 'UTC', 'YYYY_MM') AS part, starts, starts + interval '1 month' AS ends
        FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS starts) AS it
    ) AS next WHERE to_regclass('{schema}.' || part) IS NULL AND NOT EXISTS (
        SELECT FROM {schema}.record WHERE recorded_at >= starts AND recorded_at < ends)
)
SELECT COALESCE(json_agg(json_build_object('finding', finding, 'object', object, 'detail', detail) ORDER BY finding, object, detail), '[]')::text
FROM findings
