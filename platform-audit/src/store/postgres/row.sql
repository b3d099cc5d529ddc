CASE WHEN GREATEST({text_lengths}) <= 4096
    AND GREATEST({json_sizes}) <= {json_bytes}
THEN to_jsonb(record)::text
-- What is too large for any record of the toolkit's is sent in part, and named.
ELSE (
    SELECT jsonb_object_agg(name, substr(value, 1, 1024)) || jsonb_build_object(
        {other_members},
        {json_members},
        'oversized', COALESCE(jsonb_agg(name) FILTER (WHERE octet_length(value) > 4096), '[]'))
    FROM (VALUES {texts}) AS texts (name, value)
)::text
END
