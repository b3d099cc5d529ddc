-- Privileges. The owner created the schema and migrates it; it should be NOLOGIN.

-- Compliance staff can read the views only, not the table.
CREATE VIEW {schema}.records AS SELECT * FROM {schema}.record;

-- Grants `role` the privileges that a service needs, and revokes all others in this schema.
CREATE FUNCTION {schema}.grant_app(role regrole) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM %s', role);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM %s', role);
    EXECUTE format('REVOKE ALL ON SCHEMA {schema} FROM %s', role);
    EXECUTE format('GRANT USAGE ON SCHEMA {schema} TO %s', role);
    EXECUTE format('GRANT SELECT ON {schema}.record, {schema}.records, {schema}.migration, {schema}.exemption, {schema}.service TO %s', role);
    EXECUTE format('GRANT INSERT ON {schema}.record_insert TO %s', role);
    EXECUTE format('GRANT SELECT ON {schema}.sealed_record TO %s', role);
    EXECUTE format('GRANT SELECT, INSERT ON {schema}.seal, {schema}.log_entry, {schema}.tile, {schema}.checkpoint TO %s', role);
    EXECUTE format('GRANT SELECT, UPDATE ON {schema}.tree TO %s', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.empty_object, {schema}.empty_array, {schema}.write_record, {schema}.transaction_ended, {schema}.record_read, {schema}.maintain, {schema}.set_guard_partition, {schema}.guard_triggers, {schema}.qualified, {schema}.may_set_replication_role TO %s', role);
END
$$;

-- Returns whether `role` may set session_replication_role. Before Postgres 15, which added
-- has_parameter_privilege(), only superusers could.
CREATE FUNCTION {schema}.may_set_replication_role(role oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RETURN (SELECT rolsuper FROM pg_roles WHERE oid = role);
    END IF;
    RETURN has_parameter_privilege(role, 'session_replication_role', 'SET');
END
$$;

REVOKE ALL ON FUNCTION {schema}.grant_app, {schema}.may_set_replication_role FROM PUBLIC;
