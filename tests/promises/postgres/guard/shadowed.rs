//! Operators, functions and types that an attacker planted to shadow those of Postgres: no function
//! of the audit schema uses any of them.

use platform_audit::Audit;

use super::Who::{App, Owner, Superuser};
use super::{Guarded, RECORD, refusal, run};

/// Plants an object with the name of every operator and function of Postgres whose arguments have
/// plain types, and of the types that can be named without their schema. Each planted object
/// increments the sequence `planted`, which is not rolled back, and fails.
const PLANT: &str = r#"
    CREATE SEQUENCE public.planted;
    GRANT ALL ON SEQUENCE public.planted TO PUBLIC;
    DO $plant$
    DECLARE
        body CONSTANT text := 'BEGIN PERFORM nextval(''public.planted''); RAISE ''planted''; END';
        it record;
    BEGIN
        FOR it IN SELECT oid, oprname, CASE WHEN oprleft <> 0 THEN oprleft::regtype END AS l, oprright::regtype AS r, oprresult::regtype AS result
            FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND NOT EXISTS (
                SELECT FROM pg_type WHERE pg_type.oid IN (oprleft, oprright, oprresult) AND typtype = 'p')
        LOOP
            EXECUTE format('CREATE FUNCTION public.planted_%s(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS %L',
                it.oid, concat_ws(', ', it.l, it.r), it.result, body);
            EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.planted_%s, %s RIGHTARG = %s)',
                it.oprname, it.oid, 'LEFTARG = ' || it.l || ',', it.r);
        END LOOP;
        FOR it IN SELECT proname, oidvectortypes(proargtypes) AS arguments, prorettype::regtype AS result
            FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND NOT EXISTS (
                SELECT FROM pg_type WHERE pg_type.oid = ANY (array_append(proargtypes::oid[], prorettype)) AND typtype = 'p')
        LOOP
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS %L',
                it.proname, it.arguments, it.result, body);
        END LOOP;
        CREATE FUNCTION public.planted_check() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog
            AS 'BEGIN PERFORM nextval(''public.planted''); RETURN false; END';
        FOREACH it.proname IN ARRAY ARRAY['jsonb', 'name', 'oid', 'regclass', 'regrole', 'text', 'tid', 'timestamptz', 'uuid', 'xid', 'xid8'] LOOP
            EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (public.planted_check())', it.proname, it.proname);
        END LOOP;
    END
    $plant$"#;

const SHADOWED: &str = "SET search_path = public, pg_catalog";
const MANY: &str = "INSERT INTO entry SELECT i, i FROM pg_catalog.generate_series(100, 30000) AS i";

/// Statements that call or trigger each function of the audit schema, and the expected SQLSTATE.
const AS_APP: &[(&str, &str)] = &[
    ("INSERT INTO entry VALUES (3, 30)", "AU002"),
    ("SELECT ledger_audit.transaction_ended()", "AU003"),
    ("BEGIN", ""),
    (RECORD, ""),
    (MANY, ""),
    ("COMMIT", ""),
    ("BEGIN", ""),
    ("DELETE FROM entry", ""),
    ("SAVEPOINT s", ""),
    (RECORD, ""),
    ("RELEASE s", ""),
    ("COMMIT", ""),
    ("SELECT ledger_audit.new_id()", ""),
    ("SELECT ledger_audit.maintain(4)", ""),
    ("SELECT ledger_audit.set_guard_partition()", ""),
    ("SELECT ledger_audit.qualified('entry')", ""),
    ("SELECT * FROM ledger_audit.guard_triggers('measure')", ""),
    ("SELECT ledger_audit.may_set_replication_role(10)", ""),
    (
        r#"SELECT ledger_audit.record_read('{"service": "ledger", "actor_kind": "user", "actor_id": "ada"}')"#,
        "",
    ),
];

const AS_OWNER: &[(&str, &str)] = &[
    ("TRUNCATE entry", "AU002"),
    ("UPDATE ledger_audit.record SET service = 'other'", "AU001"),
    ("SELECT ledger_audit.unguard('entry', 'a test')", ""),
    ("SELECT ledger_audit.guard('entry')", ""),
    ("SELECT ledger_audit.exempt('child', 'a test')", ""),
    ("SELECT ledger_audit.default_service()", ""),
    ("SELECT ledger_audit.full_xid('700', '800')", ""),
    ("SELECT ledger_audit.create_partitions(5)", ""),
    ("SELECT ledger_audit.grant_app('APP')", ""),
    ("SELECT ledger_audit.grant_reader('READER')", ""),
];

#[tokio::test]
async fn no_function_of_the_audit_schema_calls_planted_functions() {
    let mut guarded = Guarded::new().await;
    let planter = guarded.database.role("planter", "NOLOGIN").await;
    let reader = guarded.database.role("reader", "NOLOGIN").await;
    let mut superuser = guarded.connect(Superuser).await;
    for statement in [
        &format!("GRANT CREATE ON SCHEMA public TO {planter}"),
        &format!("SET ROLE {planter}"),
        PLANT,
        "RESET ROLE",
    ] {
        run(&mut superuser, statement).await.expect(statement);
    }
    let called = "SELECT is_called FROM public.planted";
    for (who, steps) in [(App, AS_APP), (Owner, AS_OWNER)] {
        let mut connection = guarded.connect(who).await;
        run(&mut connection, SHADOWED).await.unwrap();
        for (step, refused) in steps {
            let step = step.replace("APP", &guarded.app).replace("READER", &reader);
            if refused.is_empty() {
                run(&mut connection, &step).await.expect(&step);
            } else {
                assert_eq!(&refusal(&mut connection, &step).await, refused, "{step}");
            }
            let ran: bool = sqlx::query_scalar(called)
                .fetch_one(&mut superuser)
                .await
                .unwrap();
            assert!(!ran, "planted code ran: {step}");
        }
    }
    // The planted objects exist and work.
    let mut connection = guarded.connect(App).await;
    run(&mut connection, SHADOWED).await.unwrap();
    for statement in ["SELECT 1 = 1", "SELECT now()", "SELECT ''::text"] {
        let before: i64 = sqlx::query_scalar("SELECT last_value FROM public.planted")
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        run(&mut connection, statement)
            .await
            .expect_err("the planted object fails");
        let after: (i64, bool) = sqlx::query_as("SELECT last_value, is_called FROM public.planted")
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        assert!(after.1 && (after.0 > before || before == 1), "{statement}");
    }
}

/// A new function must pin its search path, or qualify every name that it uses. In the second case,
/// add a statement that triggers it to the test above.
#[tokio::test]
async fn every_function_of_the_audit_schema_pins_its_search_path_or_needs_none() {
    let mut guarded = Guarded::new().await;
    let reader = guarded.database.role("reader", "NOLOGIN").await;
    Audit::builder(guarded.owner_pool().await, "ledger")
        .grant(None, Some(&reader))
        .await
        .unwrap();
    let mut superuser = guarded.connect(Superuser).await;
    let unpinned: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'ledger_audit'::regnamespace
            AND NOT COALESCE('search_path=pg_catalog, pg_temp' = ANY (proconfig), false) ORDER BY 1",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(unpinned, ["require_record", "transaction_ended"]);
}
