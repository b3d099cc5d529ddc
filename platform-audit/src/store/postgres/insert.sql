INSERT INTO {schema}.record_insert ({columns})
SELECT {columns}
FROM pg_catalog.json_to_recordset($1::pg_catalog.json) AS given ({typed_columns})
