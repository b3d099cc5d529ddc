-- Inserts one record; most transactions write only one. Columns with default values are left out to
-- save the server an argument each, and the check of the domain for JSON columns. VALUES is used
-- because a SELECT would evaluate the domains above a subquery, which costs a third more. {mark} is
-- the mark of the transaction that the store began: in any other transaction, the insert fails.
INSERT INTO {schema}.record_insert ({columns})
VALUES (
    CASE WHEN pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) {mark}
        THEN {first_argument} ELSE {schema}.transaction_ended() END,
    {other_arguments})
