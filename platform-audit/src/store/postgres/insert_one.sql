-- One record, each of its columns an argument: what most transactions write. VALUES, as a SELECT
-- would read the domains above a subquery, which takes a third more. {mark} is the mark of
-- the transaction that was begun: in any other one the record is refused.
INSERT INTO {schema}.record_insert ({columns})
VALUES (
    CASE WHEN pg_catalog.current_setting('platform_audit.transaction', true) OPERATOR(pg_catalog.=) {mark}
        THEN {first_argument} ELSE {schema}.transaction_ended() END,
    {other_arguments})
