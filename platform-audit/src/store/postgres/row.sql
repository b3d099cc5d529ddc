CASE WHEN GREATEST({text_lengths}) <= 4096
    AND GREATEST({json_sizes}) <= {json_bytes}
THEN to_jsonb(record)::text
-- A record larger than any that the toolkit writes: its values are truncated, and `oversized` lists
-- the truncated columns.
ELSE (
    SELECT jsonb_object_agg(name, substr(value, 1, 1024)) || jsonb_build_object(
        {other_members},
        {json_members},
        'oversized', COALESCE(jsonb_agg(name) FILTER (WHERE octet_length(value) > 4096), '[]'))
    FROM (VALUES {texts}) AS texts (name, value)
)::text
END
