SELECT json_build_object(
    'snapshot', pg_current_snapshot()::text,
    'highest', COALESCE((SELECT xid FROM {schema}.record ORDER BY xid DESC LIMIT 1)::text, '0')
)::text
