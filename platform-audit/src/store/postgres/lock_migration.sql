-- One migration at a time. Only the owner's functions and the owner itself can take this lock; before
-- the table exists, the unique index of the schemas' names is what a second instance waits for.
SET LOCAL lock_timeout = '15s';
DO $$
BEGIN
    IF to_regclass('{schema}.migration') IS NOT NULL THEN
        LOCK TABLE {schema}.migration IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
END
$$
