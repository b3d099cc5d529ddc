CASE WHEN GREATEST(
        octet_length(record.service), octet_length(record.service_version),
        octet_length(record.actor_kind::text), octet_length(record.actor_id),
        octet_length(record.actor_session), octet_length(record.actor_tenant),
        octet_length(record.actor_on_behalf_of), octet_length(record.action),
        octet_length(record.resource_type), octet_length(record.resource_id),
        octet_length(record.outcome::text), octet_length(record.error_type),
        octet_length(record.reason), octet_length(record.request_id),
        octet_length(record.method), octet_length(record.route), octet_length(record.path),
        octet_length(record.client_address), octet_length(record.user_agent),
        octet_length(record.trace_id), octet_length(record.span_id)
    ) <= 4096
    AND GREATEST(pg_column_size(record.changes), pg_column_size(record.details), pg_column_size(record.cut)) <= 262144
THEN to_jsonb(record)::text
-- What is too large for any record of the toolkit's is sent in part, and named.
ELSE (
    SELECT jsonb_object_agg(name, substr(value, 1, 1024)) || jsonb_build_object(
        'id', record.id, 'xid', record.xid, 'recorded_at', record.recorded_at,
        'occurred_at', record.occurred_at, 'status', record.status,
        'changes', CASE WHEN pg_column_size(record.changes) <= 262144 THEN record.changes END,
        'details', CASE WHEN pg_column_size(record.details) <= 262144 THEN record.details END,
        'cut', CASE WHEN pg_column_size(record.cut) <= 262144 THEN record.cut END,
        'oversized', COALESCE(jsonb_agg(name) FILTER (WHERE octet_length(value) > 4096), '[]'))
    FROM (VALUES
        ('service', record.service), ('service_version', record.service_version),
        ('actor_kind', record.actor_kind::text), ('actor_id', record.actor_id),
        ('actor_session', record.actor_session), ('actor_tenant', record.actor_tenant),
        ('actor_on_behalf_of', record.actor_on_behalf_of), ('action', record.action),
        ('resource_type', record.resource_type), ('resource_id', record.resource_id),
        ('outcome', record.outcome::text), ('error_type', record.error_type),
        ('reason', record.reason), ('request_id', record.request_id), ('method', record.method),
        ('route', record.route), ('path', record.path),
        ('client_address', record.client_address), ('user_agent', record.user_agent),
        ('trace_id', record.trace_id), ('span_id', record.span_id)
    ) AS texts (name, value)
)::text
END
