INSERT INTO {schema}.seal (position, recorded_at, id, salt, digest, hints)
SELECT $1::text::bigint + number - 1, 'epoch'::timestamptz + recorded_at * interval '1 microsecond', id, salt, digest, hints
FROM unnest($2::text::bigint[], $3::text::uuid[], $4::text::bytea[], $5::text::bytea[], $6::text::bytea[])
    WITH ORDINALITY AS new (recorded_at, id, salt, digest, hints, number)
