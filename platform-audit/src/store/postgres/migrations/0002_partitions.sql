-- Creates the partition of each month (UTC) from this one to `ahead` months later, and returns how
-- many it created. A month whose records are already in the default partition stays there.
CREATE FUNCTION {schema}.create_partitions(ahead integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' SET DateStyle = 'ISO' SET TimeZone = 'UTC' AS $$
DECLARE
    first date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    month date;
    starts timestamptz;
    ends timestamptz;
    part text;
    held boolean;
    made integer := 0;
BEGIN
    FOR i IN 0..ahead LOOP
        month := (first + make_interval(months => i))::date;
        starts := month::timestamp AT TIME ZONE 'UTC';
        ends := (month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
        part := 'record_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass('{schema}.' || part) IS NOT NULL;
        -- Instances of the service that start together take turns. Unlike an advisory lock, only
        -- the owner's functions can take this one.
        LOCK TABLE {schema}.migration IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass('{schema}.' || part) IS NOT NULL;
        -- Attaching locks the default partition until the transaction ends, which blocks readers.
        IF current_setting('idle_in_transaction_session_timeout')::interval NOT BETWEEN '1ms' AND '10s' THEN
            PERFORM set_config('idle_in_transaction_session_timeout', '10s', true);
        END IF;
        SELECT EXISTS (
            SELECT FROM {schema}.record_default WHERE recorded_at >= starts AND recorded_at < ends
        ) INTO held;
        CONTINUE WHEN held;
        -- Created separately and then attached, because attaching does not block writers of the
        -- other partitions.
        EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.record INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE, PRIMARY KEY (id))', part);
        EXECUTE format(
            'ALTER TABLE {schema}.record ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)', part, starts, ends);
        EXECUTE format(
            'CREATE TRIGGER record_no_truncate BEFORE TRUNCATE ON {schema}.%I FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change()', part);
        EXECUTE format('ALTER TABLE {schema}.%I ENABLE ALWAYS TRIGGER record_append_only', part);
        EXECUTE format('ALTER TABLE {schema}.%I ENABLE ALWAYS TRIGGER record_no_truncate', part);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Creates this month's partition before the first record: otherwise this month's records would stay
-- in the default partition.
SELECT {schema}.create_partitions(3);
