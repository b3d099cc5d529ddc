SELECT CAST(
    length(level) || ':' || level || length("index") || ':' || "index"
    || length(root) || ':' || CAST(root AS TEXT) || length(hashes) || ':' || CAST(hashes AS TEXT)
    AS BLOB)
FROM {schema}_tile
WHERE level = CAST($1 AS INTEGER) AND "index" >= CAST($2 AS INTEGER) AND "index" < CAST($3 AS INTEGER) ORDER BY "index"
