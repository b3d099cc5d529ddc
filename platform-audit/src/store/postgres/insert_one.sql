-- One record, each of its columns an argument: what most transactions write, in half the time that
-- insert.sql takes for it. No record unless the transaction is still the one that was begun.
INSERT INTO {schema}.record (
    id, action, resource_type, resource_id, changes, details, cut,
    occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id)
SELECT
    $1::uuid, $2, $3, $4, $5::jsonb, $6::jsonb, $7::jsonb,
    $8::timestamptz, $9, $10,
    $11, $12, $13, $14, $15,
    $16, $17::smallint, $18, $19,
    $20, $21, $22, $23, $24, $25, $26, $27
WHERE current_setting('platform_audit.transaction', true) = 'on'
