INSERT INTO {schema}.seal (position, recorded_at, id, salt, digest, hints)
SELECT $1::text::bigint + number - 1, 'epoch'::timestamptz + recorded_at * interval '1 microsecond', id, salt, digest, hints
FROM unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[])
    WITH ORDINALITY AS new (recorded_at, id, salt, digest, hints, number)
