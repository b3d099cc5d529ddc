-- The records of one transaction: arrays of the columns that are each record's own, and the others
-- once, a tenth faster than insert.sql. No record unless the transaction is still the one that was
-- begun ({mark}). Of several arguments, unnest is part of the grammar, and looked up nowhere.
INSERT INTO {schema}.record_insert ({own_columns}, {shared_columns})
SELECT {own_columns}, {shared_arguments}
FROM unnest({arrays}) AS given ({own_columns})
WHERE pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) {mark}
