-- One record, as most transactions write. Columns that have their defaults are left out: each of
-- them would cost the server an argument, and a JSON column a check of its domain, too. VALUES,
-- because a SELECT evaluates the domains above a subquery, which costs a third more. {mark} is the
-- mark of the transaction that was begun: any other transaction refuses the record.
INSERT INTO {schema}.record_insert ({columns})
VALUES (
    CASE WHEN pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) {mark}
        THEN {first_argument} ELSE {schema}.transaction_ended() END,
    {other_arguments})
