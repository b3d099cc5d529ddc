INSERT INTO {schema}_seal (position, recorded_at, id, salt, digest, hints)
SELECT CAST($1 AS INTEGER) + key, value ->> 0, value ->> 1, unhex(value ->> 2), unhex(value ->> 3), unhex(value ->> 4)
FROM json_each($2)
