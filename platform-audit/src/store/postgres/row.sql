to_jsonb(record)::text
