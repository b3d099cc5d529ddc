-- How far the log is sealed. The index on xid makes this cheap.
SELECT json_build_object(
    'size', size,
    'unsealed_for', extract(epoch FROM clock_timestamp() - (
        SELECT recorded_at FROM {schema}.record
        WHERE xid >= pg_snapshot_xmax(tree.seen) ORDER BY xid LIMIT 1))
)::text FROM {schema}.tree
