SELECT CAST(
    length(position) || ':' || position
    || length(CAST(recorded_at AS BLOB)) || ':' || recorded_at
    || length(CAST(id AS BLOB)) || ':' || id
    || length(salt) || ':' || CAST(salt AS TEXT)
    || length(digest) || ':' || CAST(digest AS TEXT)
    || length(hints) || ':' || CAST(hints AS TEXT)
    || CASE WHEN erased IS NULL THEN '-' ELSE length(CAST(erased AS BLOB)) || ':' || erased END
    AS BLOB)
FROM {schema}_seal
