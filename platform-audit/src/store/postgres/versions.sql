SELECT COALESCE(json_agg(version ORDER BY version), '[]')::text FROM {schema}.migration WHERE success
