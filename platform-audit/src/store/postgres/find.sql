SELECT to_jsonb(record)::text FROM {schema}.record WHERE id = $1::uuid
