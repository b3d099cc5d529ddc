SELECT {row} FROM {schema}.record WHERE id = $1::uuid
