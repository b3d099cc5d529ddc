-- Views and indexes for the queries of compliance staff. Every index slows down every write, so
-- rare queries have none.
CREATE INDEX record_recorded_at ON {schema}.record (recorded_at, id);
CREATE INDEX record_action ON {schema}.record (action, recorded_at, id);
CREATE INDEX record_unsuccessful ON {schema}.record (outcome, recorded_at, id) WHERE outcome <> 'success';
CREATE INDEX record_trace_id ON {schema}.record (trace_id, recorded_at, id) WHERE trace_id IS NOT NULL;
CREATE INDEX record_request_id ON {schema}.record (request_id, recorded_at, id) WHERE request_id IS NOT NULL;

-- `platform-audit unite` recognises audit schemas by this comment.
COMMENT ON SCHEMA {schema} IS 'platform-audit';

COMMENT ON VIEW {schema}.records IS
    'All records: who did what to which resource, when, from where, why, and with what outcome. One row for each record.';

CREATE VIEW {schema}.changes AS
    SELECT recorded_at, id, service, actor_kind, actor_id, action, resource_type, resource_id,
        change.key AS field, change.value -> 'before' AS before, change.value -> 'after' AS after, reason
    FROM {schema}.record CROSS JOIN LATERAL
        -- jsonb_each() fails on anything but an object.
        jsonb_each(CASE WHEN jsonb_typeof(changes) = 'object' THEN changes ELSE '{}' END) AS change
    WHERE outcome = 'success';
COMMENT ON VIEW {schema}.changes IS
    'Changed fields with their values before and after. One row for each changed field of a success record. A JSON null is a stored null; an SQL NULL means that there was no value.';

CREATE VIEW {schema}.attempts AS
    SELECT * FROM {schema}.record WHERE outcome <> 'success';
COMMENT ON VIEW {schema}.attempts IS
    'Operations that changed nothing: denied, invalid, failed, panicked or timed out. One row for each such record, with the columns of records.';

CREATE VIEW {schema}.activity AS
    SELECT (recorded_at AT TIME ZONE 'UTC')::date AS day, actor_kind, actor_id, action, outcome, count(*) AS records
    FROM {schema}.record GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW {schema}.activity IS
    'The number of records for each day (UTC), actor, action and outcome. Without an index: a query reads all records.';

CREATE VIEW {schema}.readings AS
    SELECT recorded_at, id, actor_kind, actor_id, reason, details ->> 'kind' AS kind,
        details -> 'query' AS query, CASE WHEN details ->> 'records' ~ '^[0-9]{1,18}$' THEN (details ->> 'records')::bigint END AS records,
        CASE WHEN jsonb_typeof(details -> 'complete') = 'boolean' THEN (details ->> 'complete')::boolean END AS complete,
        CASE WHEN jsonb_typeof(details -> 'continued') = 'boolean' THEN (details ->> 'continued')::boolean END AS continued,
        CASE WHEN jsonb_typeof(details -> 'settled') = 'boolean' THEN (details ->> 'settled')::boolean END AS settled,
        COALESCE(details -> 'after', details -> 'before') AS place,
        details ->> 'database_user' AS database_user, client_address, details ->> 'database_client' AS database_client,
        details ->> 'os_user' AS os_user, details ->> 'host' AS host
    FROM {schema}.record WHERE action = 'audit.read';
COMMENT ON VIEW {schema}.readings IS
    'Who read the audit log. One row for each reading: its kind, the query, and the number of records that were returned. For an export: whether it is complete, whether it resumed an aborted one (continued), and whether its period is settled, so that it can contain no further records. place: the record next to which a page or a resumed export began. database_user and database_client are what the server saw; os_user and host are what the program reported.';

-- Writes the record of a reading, which is one query of the audit log. The reader role can write
-- nothing else. Its id, time, action, outcome, resource and changes are set here, not by the
-- caller, so the record can neither imitate nor hide another one. The reader's name is an
-- unverified claim, so the database user and its network address are stored beside it. Without an
-- HTTP request, that address is also the client address. The attributes of a request are
-- unverified, too, but must be well-formed.
--
-- A database user can record at most 1,200 readings per minute, so that it cannot flood the log.
-- The toolkit returns no records unless the reading was recorded, so beyond the limit the query
-- itself fails. Roles that can become the owner are not limited, as they could write to the table
-- anyway.
CREATE FUNCTION {schema}.record_read(reading jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a_minute CONSTANT integer := 1200;
    new_id uuid := {schema}.new_id();
    given record;
BEGIN
    IF NOT pg_has_role(session_user, current_user, 'MEMBER') AND EXISTS (
        SELECT FROM {schema}.record
        WHERE action = 'audit.read' AND recorded_at > clock_timestamp() - interval '1 minute'
            AND details ->> 'database_user' = session_user
        OFFSET a_minute - 1)
    THEN
        RAISE EXCEPTION 'record_read: % has recorded % readings within a minute, which is the limit', session_user, a_minute
            USING ERRCODE = 'AU004',
                  HINT = 'Read more records at a time, for example with an export, or wait a minute.';
    END IF;
    SELECT * INTO given FROM jsonb_to_record(reading) AS it (
        service text, actor_kind text, actor_id text, actor_session text, actor_tenant text,
        actor_on_behalf_of text, reason text, request_id text, method text, route text, path text, client_address text,
        user_agent text, trace_id text, span_id text, details jsonb, cut jsonb);
    IF COALESCE(given.actor_id, '') = '' OR given.service IS NULL THEN
        RAISE EXCEPTION 'record_read: service or actor_id is missing'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass both: the service whose log is read, and the id of the reading actor.';
    ELSIF NOT EXISTS (SELECT FROM {schema}.service WHERE name = given.service) THEN
        RAISE EXCEPTION 'record_read: the service % does not write to {schema}', quote_literal(left(given.service, 100))
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the service whose log is read, by the name that was given to platform-audit migrate --service.';
    ELSIF octet_length(given.actor_id) > 256 OR octet_length(given.actor_session) > 256 OR octet_length(given.actor_tenant) > 256
        OR octet_length(given.actor_on_behalf_of) > 256 OR octet_length(given.reason) > 1024 OR octet_length(given.request_id) > 128
        OR octet_length(given.user_agent) > 512 OR octet_length(given.route) > 512
        OR given.method !~ '^[!-~]{1,32}$' OR octet_length(given.path) > 1024 OR given.path !~ '^[/*]'
        OR given.client_address !~ '^[0-9a-fA-F:.]{2,64}$'
        OR given.trace_id !~ '^[0-9a-f]{32}$' OR given.span_id !~ '^[0-9a-f]{16}$'
    THEN
        RAISE EXCEPTION 'record_read: an attribute of the reader or of the request is too long or malformed'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave out unknown attributes.';
    ELSIF jsonb_typeof(given.details) <> 'object' OR jsonb_typeof(given.cut) <> 'array'
        OR jsonb_path_exists(given.cut, '$[*] ? (@.type() != "string")')
    THEN
        RAISE EXCEPTION 'record_read: details or cut are malformed'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass {"details": {"name": "value"}, "cut": ["name"]}.';
    ELSIF octet_length(reading::text) > 32768 THEN
        RAISE EXCEPTION 'record_read: the reading has % bytes; the maximum is 32768', octet_length(reading::text)
            USING ERRCODE = 'string_data_right_truncation', HINT = 'Shorten the query or the details.';
    END IF;
    INSERT INTO {schema}.record (
        id, occurred_at, service, actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
        action, resource_type, outcome, reason, request_id, method, route, path, client_address, user_agent, trace_id, span_id, details, cut)
    VALUES (
        new_id, clock_timestamp(), given.service, given.actor_kind, given.actor_id, given.actor_session, given.actor_tenant, given.actor_on_behalf_of,
        'audit.read', 'audit_record', 'success', given.reason, given.request_id, given.method, given.route, given.path,
        CASE WHEN given.method IS NULL THEN COALESCE(given.client_address, host(inet_client_addr())) ELSE given.client_address END,
        given.user_agent, given.trace_id, given.span_id,
        COALESCE(given.details, '{}') || jsonb_build_object(
            'database_user', session_user, 'database_client', COALESCE(host(inet_client_addr()), '[local]')),
        COALESCE(given.cut, '[]'));
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION {schema}.record_read FROM PUBLIC;

-- Grants `role` read access to the views, and revokes all other privileges in this schema.
CREATE FUNCTION {schema}.grant_reader(role regrole) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM %s', role);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM %s', role);
    EXECUTE format('REVOKE ALL ON SCHEMA {schema} FROM %s', role);
    EXECUTE format('GRANT USAGE ON SCHEMA {schema} TO %s', role);
    EXECUTE format('GRANT SELECT ON {schema}.records, {schema}.changes, {schema}.attempts, {schema}.activity, {schema}.readings TO %s', role);
    EXECUTE format('GRANT SELECT ON {schema}.sealed_record, {schema}.seal, {schema}.log_entry, {schema}.tile, {schema}.checkpoint, {schema}.tree TO %s', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.record_read TO %s', role);
END
$$;
REVOKE ALL ON FUNCTION {schema}.grant_reader FROM PUBLIC;
