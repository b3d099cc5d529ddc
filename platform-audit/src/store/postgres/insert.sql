INSERT INTO {schema}.record (
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
FROM json_to_recordset($1::json) AS given (
    id uuid, occurred_at timestamptz, service text, service_version text,
    actor_kind text, actor_id text, actor_session text, actor_tenant text, actor_on_behalf_of text,
    action text, resource_type text, resource_id text, outcome text, status smallint, error_type text, reason text,
    request_id text, method text, route text, path text, client_address text, user_agent text, trace_id text, span_id text,
    changes jsonb, details jsonb, cut jsonb)
