-- Serialises migrations. Only the owner and its functions can take this lock. Before the table
-- exists, a second instance waits on the unique index of pg_namespace instead.
SET LOCAL lock_timeout = '15s';
DO $$
BEGIN
    IF to_regclass('{schema}.migration') IS NOT NULL THEN
        LOCK TABLE {schema}.migration IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
END
$$
