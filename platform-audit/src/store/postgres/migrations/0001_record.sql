-- The audit log. Each field is described on AuditRecord in the Rust documentation.
--
-- Domains, not CHECK constraints: Postgres reads, plans and compiles a table's CHECKs anew for each
-- INSERT, and ten of them took a fifth of a small transaction.
CREATE DOMAIN {schema}.actor_kind AS text CHECK (VALUE IN ('user', 'service', 'system', 'anonymous'));
CREATE DOMAIN {schema}.outcome AS text CHECK (VALUE IN ('success', 'denied', 'invalid', 'failed', 'panicked', 'timed_out'));
CREATE TABLE {schema}.record (
    id                 uuid        NOT NULL,
    xid                xid8        NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at        timestamptz NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    service            text        NOT NULL,
    service_version    text,
    actor_kind         {schema}.actor_kind NOT NULL,
    actor_id           text        NOT NULL,
    actor_session      text,
    actor_tenant       text,
    actor_on_behalf_of text,
    action             text        NOT NULL,
    resource_type      text,
    resource_id        text,
    outcome            {schema}.outcome NOT NULL,
    status             smallint,
    error_type         text,
    reason             text,
    request_id         text,
    method             text,
    route              text,
    path               text,
    client_address     text,
    user_agent         text,
    trace_id           text,
    span_id            text,
    changes            jsonb       NOT NULL DEFAULT '{}',
    details            jsonb       NOT NULL DEFAULT '{}',
    cut                jsonb       NOT NULL DEFAULT '[]',
    PRIMARY KEY (id, recorded_at)
) PARTITION BY RANGE (recorded_at);

CREATE INDEX record_resource ON {schema}.record (resource_type, resource_id, recorded_at, id);
CREATE INDEX record_actor ON {schema}.record (actor_id, recorded_at, id);

-- Append-only. ALWAYS, so that session_replication_role does not switch it off.
CREATE FUNCTION {schema}.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'audit records are append-only: % of %.% was refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'AU001',
              HINT = 'Write a new record that corrects the old one; retention removes whole partitions.';
END
$$;

CREATE TRIGGER record_append_only BEFORE UPDATE OR DELETE ON {schema}.record
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.record ENABLE ALWAYS TRIGGER record_append_only;
CREATE TRIGGER record_no_truncate BEFORE TRUNCATE ON {schema}.record
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.record ENABLE ALWAYS TRIGGER record_no_truncate;

-- A record is never refused or lost for want of its month's partition.
CREATE TABLE {schema}.record_default PARTITION OF {schema}.record DEFAULT;
CREATE TRIGGER record_no_truncate BEFORE TRUNCATE ON {schema}.record_default
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_append_only;
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_no_truncate;
