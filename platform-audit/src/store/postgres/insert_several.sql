-- The records of one transaction: arrays of the columns that are each record's own, and the others
-- once, a tenth faster than insert.sql. No record unless the transaction is still the one that was
-- begun ($28). Of several arguments, unnest is part of the grammar, and looked up nowhere.
INSERT INTO {schema}.record_insert (
    id, action, resource_type, resource_id, changes, details, cut,
    occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id)
SELECT
    id, action, resource_type, resource_id, changes, details, cut,
    $8::pg_catalog.timestamptz, $9, $10,
    $11, $12, $13, $14, $15,
    $16, $17::smallint, $18, $19,
    $20, $21, $22, $23, $24, $25, $26, $27
FROM unnest($1::pg_catalog.uuid[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.text[], $5::pg_catalog.jsonb[], $6::pg_catalog.jsonb[], $7::pg_catalog.jsonb[])
    AS given (id, action, resource_type, resource_id, changes, details, cut)
WHERE pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) $28
