-- Appended to insert.sql, so that a record that is sent again after a lost connection is stored
-- once.
WHERE NOT EXISTS (SELECT FROM {schema}.record AS stored WHERE stored.id OPERATOR(pg_catalog.=) given.id)
