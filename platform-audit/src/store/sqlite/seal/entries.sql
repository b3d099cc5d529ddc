SELECT CAST(length(position) || ':' || position || length(entry) || ':' || CAST(entry AS TEXT) AS BLOB)
FROM {schema}_log_entry WHERE position >= CAST($1 AS INTEGER) ORDER BY position
