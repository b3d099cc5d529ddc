INSERT INTO main.{schema}_record (
    id, xid, occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    action, resource_type, resource_id, outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id,
    changes, details, cut)
SELECT
    value ->> 'id', $2, value ->> 'occurred_at', value ->> 'service', value ->> 'service_version',
    value ->> 'actor_kind', value ->> 'actor_id', value ->> 'actor_session', value ->> 'actor_tenant', value ->> 'actor_on_behalf_of',
    value ->> 'action', value ->> 'resource_type', value ->> 'resource_id', value ->> 'outcome', value ->> 'status', value ->> 'error_type', value ->> 'reason',
    value ->> 'request_id', value ->> 'method', value ->> 'route', value ->> 'path', value ->> 'client_address', value ->> 'user_agent', value ->> 'trace_id', value ->> 'span_id',
    value -> 'changes', value -> 'details', value -> 'cut'
FROM json_each($1)
