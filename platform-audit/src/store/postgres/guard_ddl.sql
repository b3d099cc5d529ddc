-- Requires a record of every transaction that changes the definition of a guarded table. Only
-- superusers, and on managed services their administrators, may create event triggers. If the
-- connected role may not, nothing is created.
--
-- The function runs with the privileges of the role that changes a table, which may be a superuser.
-- So it belongs to the role that creates the event triggers; otherwise the schema's owner could
-- replace it. It only reads the catalogs, and calls one function of the owner, queue_check(), which
-- runs with the owner's privileges.
DO $make$
BEGIN
    CREATE OR REPLACE FUNCTION {schema}.guard_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        changed oid;
    BEGIN
        IF TG_EVENT = 'sql_drop' THEN
            -- A guarded table, its guard, or a column that goes with another object, such as its
            -- type.
            SELECT COALESCE(CASE object_type WHEN 'trigger' THEN to_regclass(format('%I.%I', address_names[1], address_names[2]))::oid ELSE objid END, 0)
                INTO changed FROM pg_event_trigger_dropped_objects()
                WHERE object_type = 'trigger' AND address_names[3] IN ('{schema}_guard', '{schema}_guard_truncate')
                    OR object_type = 'table column' AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = objid AND tgname = '{schema}_guard')
                LIMIT 1;
        ELSE
            -- A guarded table, its ancestors and descendants, which share its rows, and the types
            -- of its columns, also nested ones, which change its values.
            WITH RECURSIVE command AS (
                SELECT classid, objid FROM pg_event_trigger_ddl_commands()
            ), type AS (
                SELECT objid AS oid FROM command WHERE classid = 'pg_type'::regclass
                UNION SELECT reltype FROM command JOIN pg_class ON pg_class.oid = objid WHERE classid = 'pg_class'::regclass
                UNION SELECT CASE classid WHEN 'pg_type'::regclass THEN objid ELSE (SELECT reltype FROM pg_class WHERE oid = objid) END
                    FROM type JOIN pg_depend ON refclassid = 'pg_type'::regclass AND refobjid = type.oid
                    WHERE classid IN ('pg_type'::regclass, 'pg_class'::regclass)
            ), named AS (
                SELECT objid AS relation FROM command WHERE classid = 'pg_class'::regclass
                UNION SELECT objid FROM type JOIN pg_depend ON refclassid = 'pg_type'::regclass AND refobjid = type.oid
                    WHERE classid = 'pg_class'::regclass
            ), above AS (
                SELECT relation FROM named UNION SELECT inhparent FROM above JOIN pg_inherits ON inhrelid = relation
            ), below AS (
                SELECT relation FROM named UNION SELECT inhrelid FROM below JOIN pg_inherits ON inhparent = relation
            )
            SELECT tgrelid INTO changed FROM pg_trigger
                WHERE tgname = '{schema}_guard' AND tgrelid IN (SELECT relation FROM above UNION SELECT relation FROM below)
                ORDER BY tgrelid NOT IN (SELECT relation FROM named) LIMIT 1;
        END IF;
        IF changed IS NULL THEN
            RETURN;
        ELSIF NOT EXISTS (
            SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname = '{schema}' AND proname = 'queue_check' AND prosecdef
                AND has_schema_privilege(pg_namespace.oid, 'USAGE') AND has_function_privilege(pg_proc.oid, 'EXECUTE'))
        THEN
            RAISE EXCEPTION 'unaudited change: % changes a guarded table, and the role % does not own {schema}', TG_TAG, current_user
                USING ERRCODE = 'AU002', HINT = 'Change it as a member of the role that owns the audit schema {schema}, with a record in the same transaction.';
        END IF;
        PERFORM {schema}.queue_check(changed);
    END
    $$;
    ALTER FUNCTION {schema}.guard_ddl() OWNER TO CURRENT_USER;
    REVOKE ALL ON FUNCTION {schema}.guard_ddl() FROM PUBLIC;
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '{schema}_ddl') THEN
        CREATE EVENT TRIGGER {schema}_ddl ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE')
            EXECUTE FUNCTION {schema}.guard_ddl();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '{schema}_drop') THEN
        CREATE EVENT TRIGGER {schema}_drop ON sql_drop EXECUTE FUNCTION {schema}.guard_ddl();
    END IF;
    ALTER EVENT TRIGGER {schema}_ddl ENABLE ALWAYS;
    ALTER EVENT TRIGGER {schema}_drop ENABLE ALWAYS;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no event triggers were made for {schema}, as % may not make any', current_user;
END
$make$
