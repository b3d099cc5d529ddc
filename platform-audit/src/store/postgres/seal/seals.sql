SELECT record_send(ROW(position, recorded_at, id, salt, digest, hints, erased::text)) FROM {schema}.seal
WHERE position >= $1::text::bigint AND position < $2::text::bigint ORDER BY position
