json_object(
    'id', id, 'xid', xid, 'occurred_at', occurred_at, 'recorded_at', recorded_at,
    'service', service, 'service_version', service_version,
    'actor_kind', actor_kind, 'actor_id', actor_id, 'actor_session', actor_session, 'actor_tenant', actor_tenant, 'actor_on_behalf_of', actor_on_behalf_of,
    'action', action, 'resource_type', resource_type, 'resource_id', resource_id, 'outcome', outcome, 'status', status, 'error_type', error_type, 'reason', reason,
    'request_id', request_id, 'method', method, 'route', route, 'path', path, 'client_address', client_address, 'user_agent', user_agent, 'trace_id', trace_id, 'span_id', span_id,
    'changes', json(changes), 'details', json(details), 'cut', json(cut))
