-- The audit log. Each field is described on AuditRecord in the Rust documentation.
--
-- Domains, not CHECK constraints: Postgres plans and compiles a table's CHECK constraints for every
-- INSERT. Ten of them took a fifth of the time of a small transaction.
CREATE DOMAIN {schema}.actor_kind AS text COLLATE "C"
    CHECK (VALUE IN ('user', 'service', 'system', 'anonymous'));
CREATE DOMAIN {schema}.outcome AS text COLLATE "C"
    CHECK (VALUE IN ('success', 'denied', 'invalid', 'failed', 'panicked', 'timed_out'));
-- The size limit of the JSON columns, in bytes of their text form: readers receive the text, and
-- jsonb stores a number such as 1e100000 in a few bytes. The toolkit writes at most 64 KiB of JSON,
-- to which Postgres adds spaces. Only an object contains {}, and only an array contains [].
-- Containment is a single function call; jsonb_typeof() would also need a comparison.
CREATE DOMAIN {schema}.bounded_object AS jsonb
    CHECK (octet_length(VALUE::text) <= 100000 AND VALUE @> '{}');
CREATE DOMAIN {schema}.bounded_array AS jsonb
    CHECK (octet_length(VALUE::text) <= 100000 AND VALUE @> '[]');
-- Defaults of the JSON columns. The planner replaces a call with its result, which already has the
-- domain type. A literal would be checked against the domain in every INSERT.
CREATE FUNCTION {schema}.empty_object() RETURNS {schema}.bounded_object
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION {schema}.empty_array() RETURNS {schema}.bounded_array
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '[]'::jsonb $$;
-- Excludes 'infinity', and years that other programs cannot parse.
CREATE DOMAIN {schema}.moment AS timestamptz CHECK (VALUE >= '0001-01-01 00:00+00' AND VALUE < '9999-12-30 00:00+00');
-- Texts are compared as bytes, independently of the database's locale. This is faster in each
-- index, and an update of the operating system's locales cannot corrupt an index. The reason has no
-- index, and is searched without regard to case, which is a matter of the locale.
CREATE TABLE {schema}.record (
    id                 uuid        NOT NULL,
    xid                xid8        NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at        {schema}.moment NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    service            text COLLATE "C" NOT NULL,
    service_version    text COLLATE "C",
    actor_kind         {schema}.actor_kind NOT NULL,
    actor_id           text COLLATE "C" NOT NULL,
    actor_session      text COLLATE "C",
    actor_tenant       text COLLATE "C",
    actor_on_behalf_of text COLLATE "C",
    action             text COLLATE "C" NOT NULL,
    resource_type      text COLLATE "C",
    resource_id        text COLLATE "C",
    outcome            {schema}.outcome NOT NULL,
    status             smallint,
    error_type         text COLLATE "C",
    reason             text,
    request_id         text COLLATE "C",
    method             text COLLATE "C",
    route              text COLLATE "C",
    path               text COLLATE "C",
    client_address     text COLLATE "C",
    user_agent         text COLLATE "C",
    trace_id           text COLLATE "C",
    span_id            text COLLATE "C",
    changes            {schema}.bounded_object NOT NULL DEFAULT {schema}.empty_object(),
    details            {schema}.bounded_object NOT NULL DEFAULT {schema}.empty_object(),
    cut                {schema}.bounded_array NOT NULL DEFAULT {schema}.empty_array()
) PARTITION BY RANGE (recorded_at);

-- Limits the total size of a row's texts: with PLAIN storage they are kept in the row itself, so
-- Postgres refuses a row that does not fit into an 8 KiB page (SQLSTATE 54000). The toolkit writes
-- at most 5 KiB. This limit costs nothing at run time; a domain for each column took a fifth of the
-- time of the INSERT.
ALTER TABLE {schema}.record
    ALTER service SET STORAGE PLAIN,
    ALTER service_version SET STORAGE PLAIN,
    ALTER actor_id SET STORAGE PLAIN,
    ALTER actor_session SET STORAGE PLAIN,
    ALTER actor_tenant SET STORAGE PLAIN,
    ALTER actor_on_behalf_of SET STORAGE PLAIN,
    ALTER action SET STORAGE PLAIN,
    ALTER resource_type SET STORAGE PLAIN,
    ALTER resource_id SET STORAGE PLAIN,
    ALTER error_type SET STORAGE PLAIN,
    ALTER reason SET STORAGE PLAIN,
    ALTER request_id SET STORAGE PLAIN,
    ALTER method SET STORAGE PLAIN,
    ALTER route SET STORAGE PLAIN,
    ALTER path SET STORAGE PLAIN,
    ALTER client_address SET STORAGE PLAIN,
    ALTER user_agent SET STORAGE PLAIN,
    ALTER trace_id SET STORAGE PLAIN,
    ALTER span_id SET STORAGE PLAIN;

CREATE INDEX record_resource ON {schema}.record (resource_type, resource_id, recorded_at, id);
CREATE INDEX record_actor ON {schema}.record (actor_id, recorded_at, id);

-- Append-only. ENABLE ALWAYS, so that session_replication_role does not disable the triggers.
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

-- The default partition accepts records of months that have no partition yet. An id is unique only
-- within a partition: a key of the whole table would have to contain recorded_at, and would
-- therefore allow an id twice.
CREATE TABLE {schema}.record_default PARTITION OF {schema}.record (PRIMARY KEY (id)) DEFAULT;
CREATE TRIGGER record_no_truncate BEFORE TRUNCATE ON {schema}.record_default
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_append_only;
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_no_truncate;
