INSERT INTO {schema}.record_insert (
    id, occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    action, resource_type, resource_id, outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id,
    changes, details, cut)
SELECT
    id, occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    action, resource_type, resource_id, outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id,
    changes, details, cut
FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS given (
    id pg_catalog.uuid, occurred_at pg_catalog.timestamptz, service pg_catalog.text, service_version pg_catalog.text,
    actor_kind pg_catalog.text, actor_id pg_catalog.text, actor_session pg_catalog.text, actor_tenant pg_catalog.text, actor_on_behalf_of pg_catalog.text,
    action pg_catalog.text, resource_type pg_catalog.text, resource_id pg_catalog.text, outcome pg_catalog.text, status smallint, error_type pg_catalog.text, reason pg_catalog.text,
    request_id pg_catalog.text, method pg_catalog.text, route pg_catalog.text, path pg_catalog.text, client_address pg_catalog.text, user_agent pg_catalog.text, trace_id pg_catalog.text, span_id pg_catalog.text,
    changes pg_catalog.jsonb, details pg_catalog.jsonb, cut pg_catalog.jsonb)
