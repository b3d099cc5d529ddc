SELECT record_send(ROW(position, entry)) FROM {schema}.log_entry WHERE position >= $1::text::bigint ORDER BY position
