-- The sessions that hold locks of the modes $1 (JSON array; '[]' is any) on tables of the schema,
-- those with the oldest transactions first. Only administrators can see the times of other users'
-- sessions.
SELECT COALESCE(string_agg(format('pid %s (role %s, %s)', pid, usename,
    COALESCE(format('%s, in a transaction for %s', state, date_trunc('second', clock_timestamp() - xact_start)), 'since when only administrators may see')), ', '), '')
FROM (
    SELECT pid, usename, state, xact_start FROM pg_stat_activity AS session
    WHERE pid <> pg_backend_pid() AND EXISTS (
        SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation
        WHERE pg_locks.pid = session.pid AND granted AND relnamespace = to_regnamespace('{schema}')
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND ($1::jsonb = '[]' OR jsonb_exists($1::jsonb, mode)))
    ORDER BY xact_start LIMIT 3
) AS holder
