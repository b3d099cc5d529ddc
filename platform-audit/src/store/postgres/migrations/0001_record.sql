-- The audit log. Each field is described on AuditRecord in the Rust documentation.
--
-- Domains, not CHECK constraints: Postgres reads, plans and compiles a table's CHECKs anew for each
-- INSERT, and ten of them took a fifth of a small transaction.
CREATE DOMAIN {schema}.actor_kind AS text COLLATE "C"
    CHECK (VALUE IN ('user', 'service', 'system', 'anonymous'));
CREATE DOMAIN {schema}.outcome AS text COLLATE "C"
    CHECK (VALUE IN ('success', 'denied', 'invalid', 'failed', 'panicked', 'timed_out'));
-- The limits of the JSON columns. Their text is limited, because readers receive it, and because a
-- number such as 1e100000 takes few bytes otherwise. The toolkit writes at most 64 KiB of JSON, to
-- which Postgres adds spaces. Only an object contains {}, and only an array contains []; containment
-- is one function for the executor to look up, where jsonb_typeof() and a comparison are two.
CREATE DOMAIN {schema}.bounded_object AS jsonb
    CHECK (octet_length(VALUE::text) <= 100000 AND VALUE @> '{}');
CREATE DOMAIN {schema}.bounded_array AS jsonb
    CHECK (octet_length(VALUE::text) <= 100000 AND VALUE @> '[]');
-- Defaults of the JSON columns. The planner replaces a call by its result, which is a value of the
-- domain already. A literal would be checked against the domain in each INSERT.
CREATE FUNCTION {schema}.empty_object() RETURNS {schema}.bounded_object
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION {schema}.empty_array() RETURNS {schema}.bounded_array
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '[]'::jsonb $$;
-- Without 'infinity', and within the years that other programs can read.
CREATE DOMAIN {schema}.moment AS timestamptz CHECK (VALUE >= '0001-01-01 00:00+00' AND VALUE < '9999-12-30 00:00+00');
-- Texts are compared as bytes, whatever the database's locale is: faster in each index, and an index
-- stays valid when the operating system's locales change.
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
    reason             text COLLATE "C",
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

-- Text is stored in the row itself, so a row whose texts do not fit into a page of 8 KiB together is
-- refused (54000); those of the toolkit have 5 KiB at most. This costs no instruction, where a domain
-- for each column took a fifth of the INSERT.
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

-- A record is never refused or lost for want of its month's partition. An id is unique in each
-- partition: a key of the whole log would have to contain recorded_at, and so let an id be repeated.
CREATE TABLE {schema}.record_default PARTITION OF {schema}.record (PRIMARY KEY (id)) DEFAULT;
CREATE TRIGGER record_no_truncate BEFORE TRUNCATE ON {schema}.record_default
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_append_only;
ALTER TABLE {schema}.record_default ENABLE ALWAYS TRIGGER record_no_truncate;
