-- Postgres itself asks for the record. A guarded table's row triggers queue a check that runs at
-- COMMIT: without a success record of this very transaction, it refuses the commit.
--
-- Every function that decides belongs to the owner, runs with the owner's rights and a search
-- path of its own, and cannot be called or attached to a table by anybody else.

CREATE INDEX record_xid ON {schema}.record (xid);

-- The services that write here; one, unless they share the schema.
CREATE TABLE {schema}.service (name text PRIMARY KEY);

-- Tables that need no records, with whoever said so. Changed by guard() and exempt() only.
CREATE TABLE {schema}.exemption (
    relation    text        PRIMARY KEY,
    reason      text        NOT NULL CHECK (reason <> ''),
    exempted_by text        NOT NULL DEFAULT session_user,
    exempted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The number of a subtransaction of `transaction`, of which the server tells 32 bits. It is not below
-- its transaction's.
CREATE FUNCTION {schema}.number_of(subtransaction xid, transaction xid8) RETURNS xid8
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    epoch CONSTANT bigint := 4294967296;
    whole CONSTANT bigint := transaction::text::bigint;
BEGIN
    RETURN (whole + (subtransaction::text::bigint - whole % epoch + epoch) % epoch)::text::xid8;
END
$$;

-- Its value is of the last transaction whose checks took long, after one of them found the record:
-- the others of the same transaction then need not look for it again. Only the owner's functions can
-- change it.
CREATE SEQUENCE {schema}.met MINVALUE -9223372036854775808;

-- Refuses the commit unless this transaction wrote a success record that no ROLLBACK TO took back.
--
-- The xid alone proves nothing: after a dump and restore the server counts anew, and a row of
-- the old server may hold the number of a new transaction. So the row's writer, by the number that
-- the server itself gave it, must be at work: only what this transaction wrote is seen before that.
--
-- By the index on xid alone: other plans would read all records of the transaction before the first.
CREATE FUNCTION {schema}.demand_anywhere(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_bitmapscan = off SET enable_seqscan = off AS $$
DECLARE
    transaction CONSTANT xid8 := pg_current_xact_id();
    writer xid;
    changed record;
BEGIN
    FOR writer IN SELECT xmin FROM {schema}.record WHERE xid = transaction AND outcome = 'success' LOOP
        BEGIN
            IF pg_xact_status({schema}.number_of(writer, transaction)) = 'in progress' THEN
                IF writer = transaction::xid THEN
                    PERFORM setval('{schema}.met', timestamp_hash_extended(pg_postmaster_start_time()::timestamp, txid_current()));
                END IF;
                RETURN;
            END IF;
        EXCEPTION WHEN invalid_parameter_value THEN
            -- The number is still to come: its writer was long before.
        END;
    END LOOP;
    -- A dropped table has no name any more.
    SELECT COALESCE(max(nspname::text), '(dropped)') AS schema, COALESCE(max(relname::text), 'table') AS name INTO changed
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation;
    RAISE EXCEPTION 'unaudited change: this transaction changed %.% and wrote no audit record', changed.schema, changed.name
        USING ERRCODE = 'AU002', SCHEMA = changed.schema, TABLE = changed.name,
              DETAIL = 'The table is guarded, so nothing of the transaction was committed.',
              HINT = 'Write the record in the same transaction: #[audited] or Audit::transaction in Rust, SELECT {schema}.write_record(actor => ..., action => ..., reason => ...) in SQL. See "Guarded tables" in the documentation of platform-audit.';
END
$$;

-- Runs at COMMIT for a changed row. maintain() writes it anew each month, so that it first asks
-- that month's partition alone: to ask them all costs more than the rest of the transaction.
CREATE FUNCTION {schema}.demand_record() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN RAISE 'maintain() was never called'; END $$;

-- Points demand_record() at the partition of this month (UTC), if it does not ask that already.
CREATE FUNCTION {schema}.point_guard() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $point$
DECLARE
    month text := 'record_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass('{schema}.' || month) IS NULL THEN
        month := 'record_default';
    END IF;
    IF strpos((SELECT prosrc FROM pg_proc WHERE oid = '{schema}.demand_record()'::regprocedure), '{schema}.' || month || ' ') > 0 THEN
        RETURN;
    END IF;
    -- One at a time, however many instances of the service start together.
    LOCK TABLE {schema}.migration IN SHARE UPDATE EXCLUSIVE MODE;
    -- STABLE, as it needs no snapshot of its own: that of the COMMIT sees the whole transaction. It
    -- names each operator's schema instead of a search path, which would be set and reset each time.
    --
    -- Most transactions change few rows, for which to look for a record costs least. After 5 ms of
    -- checks, `met` says that one was found: a hash of the transaction and of when the server was
    -- started, as a restored dump brings an old value, and its server may count anew. Only a record that
    -- was written outside of all savepoints counts, as no ROLLBACK TO takes it back any more.
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION {schema}.demand_record() RETURNS trigger
        LANGUAGE plpgsql STABLE SECURITY DEFINER AS $body$
        DECLARE
            writer pg_catalog.xid;
        BEGIN
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.+) '5ms'::pg_catalog.interval) THEN
                IF pg_catalog.pg_sequence_last_value('{schema}.met'::pg_catalog.regclass) OPERATOR(pg_catalog.=)
                    pg_catalog.timestamp_hash_extended(pg_catalog.pg_postmaster_start_time()::timestamp, pg_catalog.txid_current())
                THEN
                    RETURN NULL;
                END IF;
                PERFORM {schema}.demand_anywhere(TG_RELID);
                RETURN NULL;
            END IF;
            -- One is enough, and there may be many.
            SELECT xmin INTO writer FROM {schema}.%I
                WHERE xid OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id() AND outcome OPERATOR(pg_catalog.=) 'success';
            IF writer OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid THEN
                RETURN NULL;
            END IF;
            PERFORM {schema}.demand_anywhere(TG_RELID);
            RETURN NULL;
        END
        $body$ $function$, month);
END
$point$;

-- Makes the partitions of this month and the `ahead` next ones (0 to 24), and points
-- demand_record() at this month's. Returns how many partitions it made.
CREATE FUNCTION {schema}.maintain(ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $maintain$
DECLARE
    made integer;
BEGIN
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'maintain(%): between 0 and 24 months ahead can be prepared', ahead
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    made := {schema}.create_partitions(ahead);
    PERFORM {schema}.point_guard();
    RETURN made;
END
$maintain$;

-- TRUNCATE and DDL fire no row triggers, and only those can be deferred to COMMIT: so their triggers
-- insert a row here, which is deleted at once. The check that its INSERT queued stays.
CREATE UNLOGGED TABLE {schema}.truncation (relation oid NOT NULL);

CREATE FUNCTION {schema}.demand_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.demand_anywhere(NEW.relation);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER truncation_demands_record AFTER INSERT ON {schema}.truncation
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.demand_truncation();
ALTER TABLE {schema}.truncation ENABLE ALWAYS TRIGGER truncation_demands_record;

CREATE FUNCTION {schema}.oblige(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place tid;
BEGIN
    INSERT INTO {schema}.truncation VALUES (relation) RETURNING ctid INTO place;
    DELETE FROM {schema}.truncation WHERE ctid = place;
END
$$;

CREATE FUNCTION {schema}.queue_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.oblige(TG_RELID);
    RETURN NULL;
END
$$;

-- The guard's triggers on `relation` and its partitions, wanted and found. A partition inherits
-- the row triggers, but not the one for TRUNCATE.
CREATE FUNCTION {schema}.guard_triggers(relation regclass)
RETURNS TABLE (tab regclass, name name, definition text, enabled "char")
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH wanted (name, definition, function, type) AS (VALUES
        ('{schema}_guard', 'CREATE CONSTRAINT TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.demand_record()', 'demand_record', 29),
        ('{schema}_guard_truncate', 'CREATE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION {schema}.queue_truncation()', 'queue_truncation', 32)
    ), tables AS (
        SELECT relid AS tab FROM pg_partition_tree(relation)
        UNION SELECT relation
    )
    SELECT tables.tab, wanted.name::name,
        format(wanted.definition, wanted.name, tables.tab),
        (SELECT tgenabled FROM pg_trigger
            WHERE tgrelid = tables.tab AND tgname = wanted.name AND tgtype = type
                AND tgfoid = to_regprocedure(format('{schema}.%s()', function))
                AND tgqual IS NULL AND tgattr = ''::int2vector AND (function = 'queue_truncation' OR tgdeferrable AND tginitdeferred))
    FROM tables CROSS JOIN wanted
    ORDER BY tables.tab <> relation, tables.tab::oid, wanted.name
$$;

CREATE FUNCTION {schema}.qualified(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation
$$;

-- The service that a table's guard is recorded under: the first, where several share the schema.
CREATE FUNCTION {schema}.writer() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT COALESCE(min(name), '{schema}') FROM {schema}.service
$$;

-- Makes every transaction that changes `relation` need an audit record; again, it repairs what
-- is missing. For a migration: SELECT {schema}.guard('accounting.entry').
CREATE FUNCTION {schema}.guard(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
    persistence "char";
    qualified text := {schema}.qualified(relation);
    wanted record;
    part regclass;
    changed boolean := false;
BEGIN
    SELECT relkind, relpersistence INTO kind, persistence FROM pg_class WHERE oid = relation;
    IF relation IS NULL OR kind NOT IN ('r', 'p') OR persistence = 't' OR starts_with(qualified, '{schema}.') THEN
        RAISE EXCEPTION 'guard(%): only a permanent table of the service can be guarded', COALESCE(qualified, 'NULL')
            USING ERRCODE = 'wrong_object_type',
                  HINT = 'Guard the tables that a view reads; exempt a foreign table, and audit its changes where they are made.';
    END IF;
    FOR wanted IN SELECT * FROM {schema}.guard_triggers(relation) LOOP
        -- Asked again, since the triggers of a partitioned table made those of its partitions.
        SELECT found.enabled INTO wanted.enabled FROM {schema}.guard_triggers(relation) AS found
            WHERE found.tab = wanted.tab AND found.name = wanted.name;
        CONTINUE WHEN wanted.enabled = 'A';
        changed := true;
        IF wanted.enabled IS NULL THEN
            IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = wanted.tab AND tgname = wanted.name) THEN
                EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, wanted.tab);
            END IF;
            -- A partition that was guarded by itself gets that of the whole instead, which has the same name.
            FOR part IN SELECT relid FROM pg_partition_tree(wanted.tab) JOIN pg_trigger ON tgrelid = relid
                WHERE relid <> wanted.tab AND wanted.name = '{schema}_guard' AND tgname = wanted.name AND tgparentid = 0
            LOOP
                EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, part);
            END LOOP;
            EXECUTE wanted.definition;
        END IF;
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', wanted.tab, wanted.name);
    END LOOP;
    DELETE FROM {schema}.exemption AS exempted WHERE exempted.relation = qualified;
    IF changed OR FOUND THEN
        PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.writer(), action => 'table.guard',
            resource_type => 'table', resource_id => qualified, reason => 'guard() was called');
    END IF;
END
$$;

-- Takes the guard from `relation`, and leaves a record of it. Exempt it too, or the service
-- will not start.
CREATE FUNCTION {schema}.unguard(relation regclass, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    changed boolean := false;
BEGIN
    IF COALESCE(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'unguard(%): say why', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR found IN SELECT * FROM {schema}.guard_triggers(relation) LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = found.tab AND tgname = found.name);
        changed := true;
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.tab);
    END LOOP;
    IF changed THEN
        PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.writer(), action => 'table.unguard',
            resource_type => 'table', resource_id => {schema}.qualified(relation), reason => reason);
    END IF;
END
$$;

-- Says that changes of `relation` need no audit record, and why; takes its guard, if it has one.
CREATE FUNCTION {schema}.exempt(relation regclass, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := {schema}.qualified(relation);
BEGIN
    IF COALESCE(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'exempt(%): say why', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM {schema}.unguard(relation, reason);
    IF EXISTS (SELECT FROM {schema}.exemption AS given WHERE given.relation = qualified AND given.reason = exempt.reason) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.exemption AS given (relation, reason) VALUES (qualified, exempt.reason)
        ON CONFLICT ON CONSTRAINT exemption_pkey
        DO UPDATE SET reason = EXCLUDED.reason, exempted_by = DEFAULT, exempted_at = DEFAULT;
    PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.writer(), action => 'table.exempt',
        resource_type => 'table', resource_id => qualified, reason => reason);
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
