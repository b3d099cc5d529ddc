-- Appended to insert.sql: no record unless the transaction is still the one that was begun.
WHERE current_setting('platform_audit.transaction', true) = $2
