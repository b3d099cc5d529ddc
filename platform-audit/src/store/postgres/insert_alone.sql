-- Appended to insert.sql: written again after a lost connection, a record is still stored once.
WHERE NOT EXISTS (SELECT FROM {schema}.record AS stored WHERE stored.id OPERATOR(pg_catalog.=) given.id)
