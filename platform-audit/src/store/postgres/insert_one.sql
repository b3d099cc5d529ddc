-- One record, each of its columns an argument: what most transactions write. VALUES, as a SELECT
-- would read the domains above a subquery, which takes a third more. $28 is the mark of
-- the transaction that was begun: in any other one the record is refused.
INSERT INTO {schema}.record_insert (
    id, action, resource_type, resource_id, changes, details, cut,
    occurred_at, service, service_version,
    actor_kind, actor_id, actor_session, actor_tenant, actor_on_behalf_of,
    outcome, status, error_type, reason,
    request_id, method, route, path, client_address, user_agent, trace_id, span_id)
VALUES (
    CASE WHEN pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) $28
        THEN $1::pg_catalog.uuid ELSE {schema}.transaction_ended() END,
    $2, $3, $4, $5::pg_catalog.jsonb, $6::pg_catalog.jsonb, $7::pg_catalog.jsonb,
    $8::pg_catalog.timestamptz, $9, $10,
    $11, $12, $13, $14, $15,
    $16, $17::smallint, $18, $19,
    $20, $21, $22, $23, $24, $25, $26, $27)
