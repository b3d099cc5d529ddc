SELECT record_send(ROW(level, index, root, hashes)) FROM {schema}.tile
WHERE level = $1::text::smallint AND index >= $2::text::bigint AND index < $3::text::bigint ORDER BY index
