-- Services write records through this view. It has all columns except xid and recorded_at, which
-- only the database sets. Postgres checks the privilege on a view once, but column privileges one
-- by one. Only the owner may write to the table itself.
CREATE VIEW {schema}.record_insert AS SELECT
    id, occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    action, resource_type, resource_id, outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id,
    changes, details, cut
FROM {schema}.record;

-- The toolkit's INSERT calls this if it runs in another transaction than the one begun for the
-- record, so that the record is not written there.
CREATE FUNCTION {schema}.transaction_ended() RETURNS uuid
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the transaction that was begun for this audit record has ended'
        USING ERRCODE = 'AU003', HINT = 'Leave BEGIN, COMMIT and ROLLBACK to AuditTx.';
END
$$;
REVOKE ALL ON FUNCTION {schema}.transaction_ended FROM PUBLIC;

-- A UUID version 7: milliseconds since 1970, then random.
CREATE FUNCTION {schema}.new_id() RETURNS uuid
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

-- Writes a success record from plain SQL, for a data migration or a manual repair, and returns its
-- id. The limits are those of AuditRecord. The actor is an unverified claim of the caller, so the
-- details also contain the database user.
CREATE FUNCTION {schema}.write_record(
    actor text, action text, reason text,
    resource_type text DEFAULT NULL, resource_id text DEFAULT NULL,
    actor_kind text DEFAULT 'user', actor_tenant text DEFAULT NULL, actor_on_behalf_of text DEFAULT NULL,
    changes jsonb DEFAULT '{}', details jsonb DEFAULT '{}', service text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_id uuid := {schema}.new_id();
    named text[];
    given record;
BEGIN
    FOR given IN SELECT * FROM (VALUES
        ('actor', actor, 256, true), ('action', action, 100, true), ('reason', reason, 1024, true),
        ('resource_type', resource_type, 100, false), ('resource_id', resource_id, 256, false),
        ('actor_tenant', actor_tenant, 256, false), ('actor_on_behalf_of', actor_on_behalf_of, 256, false),
        ('changes', changes::text, 65536, true), ('details', details::text, 16384, true)
    ) AS argument (name, value, bytes, required) LOOP
        IF given.required AND COALESCE(btrim(given.value), '') = '' THEN
            RAISE EXCEPTION 'write_record: % is missing', given.name
                USING ERRCODE = 'invalid_parameter_value', HINT = format('Pass %s => ''...''.', given.name);
        ELSIF octet_length(given.value) > given.bytes THEN
            RAISE EXCEPTION 'write_record: % has % bytes; the maximum is %', given.name, octet_length(given.value), given.bytes
                USING ERRCODE = 'string_data_right_truncation', HINT = 'Shorten it, store the complete value elsewhere, and refer to it in the record.';
        END IF;
    END LOOP;
    IF action !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' THEN
        RAISE EXCEPTION 'write_record: % is not the name of an action', quote_literal(action)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Use noun.verb in lower case, for example entry.repair.';
    ELSIF actor_kind IS NULL OR actor_kind NOT IN ('user', 'service', 'system', 'anonymous') THEN
        RAISE EXCEPTION 'write_record: % is not a kind of actor', quote_nullable(actor_kind)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass actor_kind => ''user'', ''service'', ''system'' or ''anonymous''.';
    ELSIF jsonb_typeof(details) <> 'object' OR jsonb_typeof(changes) <> 'object'
        OR jsonb_path_exists(changes, '$.* ? (@.type() <> "object")')
        OR jsonb_path_exists(changes, '$.*.keyvalue() ? (@.key != "before" && @.key != "after")')
    THEN
        RAISE EXCEPTION 'write_record: changes or details are malformed'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Pass changes => ''{"field": {"before": 1, "after": 2}}'' and details => ''{"name": "value"}''.';
    END IF;
    IF service IS NULL THEN
        SELECT array_agg(name) INTO named FROM {schema}.service;
        IF cardinality(named) IS DISTINCT FROM 1 THEN
            RAISE EXCEPTION 'write_record: no service or several services write to {schema}'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the name of one: service => ''accounting''.';
        END IF;
        service := named[1];
    END IF;
    INSERT INTO {schema}.record_insert (
        id, occurred_at, service, actor_kind, actor_id, actor_tenant, actor_on_behalf_of,
        action, resource_type, resource_id, outcome, reason, changes, details)
    VALUES (
        new_id, transaction_timestamp(), service, actor_kind, actor, actor_tenant, actor_on_behalf_of,
        action, resource_type, resource_id, 'success', reason, changes,
        details || jsonb_build_object('database_user', session_user));
    RETURN new_id;
END
$$;

REVOKE ALL ON FUNCTION {schema}.write_record FROM PUBLIC;
