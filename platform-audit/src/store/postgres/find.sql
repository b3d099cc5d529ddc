SELECT {row} FROM {schema}.record WHERE id = $1::uuid ORDER BY record.recorded_at LIMIT 2
