-- The guard: Postgres itself requires the record. A guarded table's row triggers queue a check that
-- runs at COMMIT and refuses the commit unless this transaction wrote a success record.
--
-- Every function that takes part in this decision belongs to the schema's owner, runs with the
-- owner's privileges, and pins its search path or qualifies each name. No other role can call it or
-- attach it to a table.

CREATE INDEX record_xid ON {schema}.record (xid);

-- The services that write to this schema; usually a single one.
CREATE TABLE {schema}.service (name text PRIMARY KEY);

-- Tables that need no records, and the role that exempted each. Only guard() and exempt() change
-- it.
CREATE TABLE {schema}.exemption (
    relation    text        PRIMARY KEY,
    reason      text        NOT NULL CHECK (reason <> ''),
    exempted_by text        NOT NULL DEFAULT session_user,
    exempted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Returns the 64-bit number of a subtransaction of `transaction`. A row's xmin contains only the
-- lower 32 bits, but the number is never less than that of its transaction.
CREATE FUNCTION {schema}.full_xid(subtransaction xid, transaction xid8) RETURNS xid8
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    epoch CONSTANT bigint := 4294967296;
    whole CONSTANT bigint := transaction::text::bigint;
BEGIN
    RETURN (whole + (subtransaction::text::bigint - whole % epoch + epoch) % epoch)::text::xid8;
END
$$;

-- Caches a hash of the last transaction whose checks took long and found the record, so that its
-- remaining checks need not search again. Only the owner's functions can change it.
CREATE SEQUENCE {schema}.checked_transaction MINVALUE -9223372036854775808;

-- Refuses the commit unless this transaction wrote a success record that no ROLLBACK TO removed.
--
-- The xid alone proves nothing: a server restored from a dump assigns transaction numbers from the
-- beginning, so a restored row may contain the number of a new transaction. So the transaction that
-- inserted the row (xmin, which the server sets) must still be in progress. The only such rows that
-- a transaction can see are its own.
--
-- Only plans that use the index on xid are allowed: others would read all records of the
-- transaction to find the first.
CREATE FUNCTION {schema}.require_record_in_log(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_bitmapscan = off SET enable_seqscan = off AS $$
DECLARE
    transaction CONSTANT xid8 := pg_current_xact_id();
    writer xid;
    changed record;
BEGIN
    FOR writer IN SELECT xmin FROM {schema}.record WHERE xid = transaction AND outcome = 'success' LOOP
        BEGIN
            IF pg_xact_status({schema}.full_xid(writer, transaction)) = 'in progress' THEN
                IF writer = transaction::xid THEN
                    PERFORM setval('{schema}.checked_transaction', timestamp_hash_extended(pg_postmaster_start_time()::timestamp, txid_current()));
                END IF;
                RETURN;
            END IF;
        EXCEPTION WHEN invalid_parameter_value THEN
            -- This server has not assigned the number yet, so the record was restored.
        END;
    END LOOP;
    -- A dropped table has no name.
    SELECT COALESCE(max(nspname::text), '(dropped)') AS schema, COALESCE(max(relname::text), 'table') AS name INTO changed
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation;
    RAISE EXCEPTION 'unaudited change: this transaction changed %.% and wrote no audit record', changed.schema, changed.name
        USING ERRCODE = 'AU002', SCHEMA = changed.schema, TABLE = changed.name,
              DETAIL = 'The table is guarded, so nothing of the transaction was committed.',
              HINT = 'Write the record in the same transaction: #[audited] or Audit::transaction in Rust, SELECT {schema}.write_record(actor => ..., action => ..., reason => ...) in SQL. See "Guarded tables" in the documentation of platform-audit.';
END
$$;

-- Runs at COMMIT for each changed row. set_guard_partition() replaces it each month, so that it
-- searches that month's partition first: searching all of them costs more than the rest of the
-- transaction.
CREATE FUNCTION {schema}.require_record() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN RAISE 'maintain() was never called'; END $$;

-- Makes require_record() search the partition of this month (UTC) first, if it does not already.
CREATE FUNCTION {schema}.set_guard_partition() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $point$
DECLARE
    month text := 'record_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass('{schema}.' || month) IS NULL THEN
        month := 'record_default';
    END IF;
    IF strpos((SELECT prosrc FROM pg_proc WHERE oid = '{schema}.require_record()'::regprocedure), '{schema}.' || month || ' ') > 0 THEN
        RETURN;
    END IF;
    -- Instances of the service that start together take turns.
    LOCK TABLE {schema}.migration IN SHARE UPDATE EXCLUSIVE MODE;
    -- STABLE, because the snapshot of the COMMIT sees the whole transaction, so none of its own is
    -- needed. It qualifies each operator, because setting and resetting a search path costs more.
    --
    -- Most transactions change few rows, for which searching is cheapest. After 5 ms of checks, the
    -- sequence checked_transaction contains a hash of the transaction whose record was found and of
    -- the server's start: a restored dump contains an old value, and its server may assign the same
    -- transaction numbers again. Only a record that was written outside all savepoints counts,
    -- because no ROLLBACK TO removes it.
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION {schema}.require_record() RETURNS trigger
        LANGUAGE plpgsql STABLE SECURITY DEFINER AS $body$
        DECLARE
            writer pg_catalog.xid;
        BEGIN
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.+) '5ms'::pg_catalog.interval) THEN
                IF pg_catalog.pg_sequence_last_value('{schema}.checked_transaction'::pg_catalog.regclass) OPERATOR(pg_catalog.=)
                    pg_catalog.timestamp_hash_extended(pg_catalog.pg_postmaster_start_time()::timestamp, pg_catalog.txid_current())
                THEN
                    RETURN NULL;
                END IF;
                PERFORM {schema}.require_record_in_log(TG_RELID);
                RETURN NULL;
            END IF;
            -- Stops at the first record: there may be many.
            SELECT xmin INTO writer FROM {schema}.%I
                WHERE xid OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id() AND outcome OPERATOR(pg_catalog.=) 'success';
            IF writer OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid THEN
                RETURN NULL;
            END IF;
            PERFORM {schema}.require_record_in_log(TG_RELID);
            RETURN NULL;
        END
        $body$ $function$, month);
END
$point$;

-- Creates the partitions of this month and the `ahead` next ones (0 to 24), and makes
-- require_record() search this month's first. Returns how many partitions it created.
CREATE FUNCTION {schema}.maintain(ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $maintain$
DECLARE
    made integer;
BEGIN
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'maintain(%): the number of months must be from 0 to 24', ahead
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    made := {schema}.create_partitions(ahead);
    PERFORM {schema}.set_guard_partition();
    RETURN made;
END
$maintain$;

-- TRUNCATE and DDL fire no row triggers, and only row triggers can be deferred to COMMIT. So the
-- triggers of TRUNCATE and DDL insert a row into this table and delete it at once. The check that
-- the INSERT queued still runs at COMMIT.
CREATE UNLOGGED TABLE {schema}.pending_check (relation oid NOT NULL);

CREATE FUNCTION {schema}.require_record_for_pending_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.require_record_in_log(NEW.relation);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER pending_check_requires_record AFTER INSERT ON {schema}.pending_check
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.require_record_for_pending_check();
ALTER TABLE {schema}.pending_check ENABLE ALWAYS TRIGGER pending_check_requires_record;

CREATE FUNCTION {schema}.queue_check(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place tid;
BEGIN
    INSERT INTO {schema}.pending_check VALUES (relation) RETURNING ctid INTO place;
    DELETE FROM {schema}.pending_check WHERE ctid = place;
END
$$;

CREATE FUNCTION {schema}.queue_truncate_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.queue_check(TG_RELID);
    RETURN NULL;
END
$$;

-- Returns the guard's triggers on `relation` and its partitions, expected and actual. Partitions
-- inherit the row triggers, but not the TRUNCATE trigger.
CREATE FUNCTION {schema}.guard_triggers(relation regclass)
RETURNS TABLE (guarded_table regclass, name name, definition text, enabled "char")
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    WITH wanted (name, definition, function, type) AS (VALUES
        ('{schema}_guard', 'CREATE CONSTRAINT TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.require_record()', 'require_record', 29),
        ('{schema}_guard_truncate', 'CREATE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION {schema}.queue_truncate_check()', 'queue_truncate_check', 32)
    ), tables AS (
        SELECT relid AS guarded_table FROM pg_partition_tree(relation)
        UNION SELECT relation
    )
    SELECT tables.guarded_table, wanted.name::name,
        format(wanted.definition, wanted.name, tables.guarded_table),
        (SELECT tgenabled FROM pg_trigger
            WHERE tgrelid = tables.guarded_table AND tgname = wanted.name AND tgtype = type
                AND tgfoid = to_regprocedure(format('{schema}.%s()', function))
                AND tgqual IS NULL AND tgattr = ''::int2vector AND (function = 'queue_truncate_check' OR tgdeferrable AND tginitdeferred))
    FROM tables CROSS JOIN wanted
    ORDER BY tables.guarded_table <> relation, tables.guarded_table::oid, wanted.name
$$;

CREATE FUNCTION {schema}.qualified(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $$
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation
$$;

-- Returns the service to which records about guards are attributed: the first by name, if several
-- share the schema.
CREATE FUNCTION {schema}.default_service() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT COALESCE(min(name), '{schema}') FROM {schema}.service
$$;

-- Requires an audit record of every transaction that changes `relation`. Call it in the migration
-- that creates the table: SELECT {schema}.guard('accounting.entry'). Call it again to restore
-- missing triggers.
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
        -- Read again: creating the triggers of a partitioned table created those of its partitions.
        SELECT found.enabled INTO wanted.enabled FROM {schema}.guard_triggers(relation) AS found
            WHERE found.guarded_table = wanted.guarded_table AND found.name = wanted.name;
        CONTINUE WHEN wanted.enabled = 'A';
        changed := true;
        IF wanted.enabled IS NULL THEN
            IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = wanted.guarded_table AND tgname = wanted.name) THEN
                EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, wanted.guarded_table);
            END IF;
            -- A partition's own trigger has the same name as the one it inherits, so it goes first.
            FOR part IN SELECT relid FROM pg_partition_tree(wanted.guarded_table) JOIN pg_trigger ON tgrelid = relid
                WHERE relid <> wanted.guarded_table AND wanted.name = '{schema}_guard' AND tgname = wanted.name AND tgparentid = 0
            LOOP
                EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, part);
            END LOOP;
            EXECUTE wanted.definition;
        END IF;
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', wanted.guarded_table, wanted.name);
    END LOOP;
    DELETE FROM {schema}.exemption AS exempted WHERE exempted.relation = qualified;
    IF changed OR FOUND THEN
        PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.default_service(), action => 'table.guard',
            resource_type => 'table', resource_id => qualified, reason => 'guard() was called');
    END IF;
END
$$;

-- Removes the guard of `relation`, and writes an audit record of that. Exempt the table, too:
-- otherwise the service does not start.
CREATE FUNCTION {schema}.unguard(relation regclass, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    changed boolean := false;
BEGIN
    IF COALESCE(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'unguard(%): the reason is missing', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR found IN SELECT * FROM {schema}.guard_triggers(relation) LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = found.guarded_table AND tgname = found.name);
        changed := true;
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.guarded_table);
    END LOOP;
    IF changed THEN
        PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.default_service(), action => 'table.unguard',
            resource_type => 'table', resource_id => {schema}.qualified(relation), reason => reason);
    END IF;
END
$$;

-- Exempts `relation` from audit records, for a reason, and removes its guard if it has one.
CREATE FUNCTION {schema}.exempt(relation regclass, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := {schema}.qualified(relation);
BEGIN
    IF COALESCE(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'exempt(%): the reason is missing', relation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM {schema}.unguard(relation, reason);
    IF EXISTS (SELECT FROM {schema}.exemption AS given WHERE given.relation = qualified AND given.reason = exempt.reason) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.exemption AS given (relation, reason) VALUES (qualified, exempt.reason)
        ON CONFLICT ON CONSTRAINT exemption_pkey
        DO UPDATE SET reason = EXCLUDED.reason, exempted_by = DEFAULT, exempted_at = DEFAULT;
    PERFORM {schema}.write_record(actor => session_user, actor_kind => 'system', service => {schema}.default_service(), action => 'table.exempt',
        resource_type => 'table', resource_id => qualified, reason => reason);
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
