UPDATE {schema}.tree SET size = $1::text::bigint, root = decode($2, 'hex'), seen = $3::text::pg_snapshot,
    system_identifier = (SELECT system_identifier FROM pg_control_system()),
    timeline_id = (SELECT timeline_id FROM pg_control_checkpoint()), sealed_at = clock_timestamp()
