//! Begin and commit on Postgres, and hazards of its driver.

use std::time::Duration;

use axum::http::StatusCode;
use platform_audit::routing::post;
use platform_audit::{Actor, Outcome, audited};
use platform_harness::wire::Wire;
use sqlx::{Connection, PgConnection, PgPool};

use super::cases::{Entry, Failure, Service, Tx, insert, record_id, wait_until};
use super::database;

/// Ignores a statement's error, which aborts the transaction, and responds with 201.
#[audited(action = "entry.swallow")]
async fn swallow(tx: &mut Tx) -> Result<StatusCode, Failure> {
    insert(tx, &Entry::new(1)).await?;
    let refused = insert(tx, &Entry::new(-1)).await;
    assert!(refused.is_err());
    Ok(StatusCode::CREATED)
}

#[tokio::test]
async fn an_aborted_transaction_is_never_reported_as_committed() {
    let service = Service::with(|b| b, |router| router.route("/swallow", post(swallow))).await;

    // Without the toolkit: sqlx 0.9 reports the commit of an aborted transaction as a success.
    let mut plain = service.pool.begin().await.unwrap();
    let refused = sqlx::query("INSERT INTO entry VALUES ('plain', -1, '', '')")
        .execute(&mut *plain)
        .await;
    assert!(refused.is_err());
    assert!(
        plain.commit().await.is_ok(),
        "the hazard is gone, so the defence can be removed"
    );

    let events = platform_harness::events::capture();
    let response = service.post("/swallow").send().await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(events.text().contains("the change was rolled back"));
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("record_refused"))
    );
}

/// A pool whose only connection has an open transaction that the pool does not know about: its
/// `begin` was cancelled while the server's reply was in transit.
async fn tainted_pool(wire: &Wire, url: &str) -> PgPool {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&wire.through(url))
        .await
        .unwrap();
    wire.hold(true);
    let begin = tokio::time::timeout(Duration::from_millis(50), pool.begin()).await;
    assert!(begin.is_err(), "the server's reply is delayed");
    wire.hold(false);
    // now() is the same for all statements of one transaction.
    let mut times = Vec::new();
    for _ in 0..2 {
        let now = sqlx::query_scalar::<_, String>("SELECT now()::text");
        times.push(now.fetch_one(&pool).await.unwrap());
    }
    assert_eq!(
        times[0], times[1],
        "no transaction was left open: the hazard is gone, so the defence can be removed"
    );
    pool
}

#[tokio::test]
async fn a_cancelled_begin_in_the_services_pool_does_not_affect_audited_transactions() {
    let database = database().await;
    let url = database.url().to_owned();
    let wire = Wire::before(&url).await;
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    let tainted = tainted_pool(&wire, &url).await;
    // The next user of that connection believes that this is committed.
    sqlx::query("INSERT INTO entry (id, amount, iban, record_id) VALUES ('stray', 1, '', '')")
        .execute(&tainted)
        .await
        .unwrap();
    let audit = platform_audit::Audit::builder(tainted, "other")
        .development(true)
        .start()
        .await
        .unwrap();
    let entry = Entry::new(1);
    audit
        .transaction(Actor::system("job"), "entry.create", async |tx: &mut Tx| {
            insert(tx, &entry).await?;
            tx.created(&entry);
            Ok::<_, Failure>(())
        })
        .await
        .unwrap();
    // The stray change did not become part of the audited transaction.
    let records = service
        .scalar("SELECT count(*) FROM other_audit.record")
        .await;
    assert_eq!((service.entries().await, records), (1, 1));
}

#[tokio::test]
async fn a_cancelled_audited_begin_leaves_no_transaction_open() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(0)).await;
    for micros in (0..400).step_by(7) {
        let work =
            service
                .audit
                .transaction(Actor::system("job"), "entry.cancel", async |tx: &mut Tx| {
                    insert(tx, &Entry::new(1)).await?;
                    std::future::pending::<()>().await;
                    Ok::<_, Failure>(())
                });
        let cancelled = tokio::time::timeout(Duration::from_micros(micros), work).await;
        assert!(cancelled.is_err());
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    wait_until(|| async { service.scalar(open).await == 0 }).await;
    assert_eq!(service.entries().await, 1, "only the first was committed");
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    assert_eq!(service.entries().await, 2);
}

#[tokio::test]
async fn stale_connections_fail_no_request() {
    let service = Service::start().await;
    for n in 0..3 {
        assert_eq!(service.send("/entries", &Entry::new(n)).await.status(), 201);
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        service.scalar(terminate).await;
    }
    assert_eq!(service.send("/entries", &Entry::new(9)).await.status(), 201);
    assert_eq!(service.records().await, 4);
}

#[tokio::test]
async fn a_deferred_constraint_that_fails_at_commit_is_not_reported_as_committed() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "CREATE TABLE parent (id TEXT PRIMARY KEY);
         ALTER TABLE entry ADD FOREIGN KEY (iban) REFERENCES parent DEFERRABLE INITIALLY DEFERRED",
    )
    .execute(&service.pool)
    .await
    .unwrap();
    let events = platform_harness::events::capture();
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    let text = events.text();
    assert!(
        text.contains(": the database refused the commit record_id="),
        "{text}"
    );
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(record.id, record_id(&response));
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("commit_refused"))
    );
    assert_eq!(record.resource_type.as_deref(), Some("entry"));
    assert!(
        record.resource_id.is_some(),
        "the resource that was to be changed"
    );
}

/// A superuser's trigger changes the record's outcome to `failed`, which does not satisfy the
/// guard.
#[tokio::test]
async fn a_commit_that_the_guard_refuses_is_recorded_as_an_unaudited_change() {
    let service = Service::with(|builder| builder.guard(["entry"]), |router| router).await;
    let weaken = "CREATE FUNCTION weaken() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.outcome = ''success'' THEN NEW.outcome := ''failed''; END IF; RETURN NEW; END';
        CREATE TRIGGER weaken BEFORE INSERT ON ledger_audit.record FOR EACH ROW EXECUTE FUNCTION weaken()";
    sqlx::raw_sql(weaken).execute(&service.pool).await.unwrap();
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.record_of(&response).await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("unaudited_change"))
    );
}

/// As a pooler reports a server that it lost during COMMIT, whose outcome is unknown.
#[tokio::test]
async fn an_internal_error_at_commit_is_an_unknown_outcome() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'lost' USING ERRCODE = 'XX000'; END $$;
         CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .execute(&service.pool)
    .await
    .unwrap();
    let events = platform_harness::events::capture();
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 503);
    assert!(
        events
            .text()
            .contains("an audited commit received no response")
    );
    let id = record_id(&response);
    assert!(response.text().await.unwrap().contains("if and only if"));
    assert!(service.audit.record(id).await.unwrap().is_none());
    assert_eq!(service.entries().await, 0);
}

/// A service whose connections can stop responding without being closed, as in a power failure of
/// the server.
async fn service_behind_freezable_wire(bounded: Duration) -> (Wire, Service) {
    let database = database().await;
    let url = database.url().to_owned();
    let wire = Wire::before(&url).await;
    let through = wire.through(&url);
    let service = Service::build(
        database,
        &through,
        |options| options.acquire_timeout(Duration::from_secs(2)),
        |builder| builder.max_connections(1).commit_within(bounded),
        |router| router,
    );
    let service = service.await;
    (wire, service)
}

/// Retries until a request succeeds: sqlx also closes the idle connections in the service's own
/// pool one at a time.
async fn send_until_success(service: &Service) -> reqwest::Response {
    for _ in 0..10 {
        let response = service.send("/entries", &Entry::new(2)).await;
        if response.status() == 201 {
            return response;
        }
        assert_eq!(response.status(), 503);
    }
    panic!("no new connection was opened");
}

#[tokio::test]
async fn a_vanished_server_causes_a_timeout_and_leaks_no_connection() {
    let (wire, service) = service_behind_freezable_wire(Duration::from_secs(60)).await;
    service.send("/entries", &Entry::new(1)).await;
    // The clients do not time out.
    wire.freeze();
    let id = record_id(&send_until_success(&service).await);
    // Looking up a record recovers as well.
    wire.freeze();
    wait_until(|| async { matches!(service.audit.record(id).await, Ok(Some(_))) }).await;
}

#[tokio::test]
async fn a_commit_without_a_reply_times_out_with_an_unknown_outcome() {
    let (wire, service) = service_behind_freezable_wire(Duration::from_secs(1)).await;
    let (response, ()) = service
        .while_waiting("/wait", async { wire.freeze() })
        .await;
    assert_eq!(response.status(), 503);
    let id = record_id(&response);
    assert!(response.text().await.unwrap().contains("if and only if"));
    send_until_success(&service).await;
    assert!(service.audit.record(id).await.unwrap().is_none());
}

/// The record may be in a transaction that has not committed yet.
#[tokio::test]
async fn looking_up_a_record_waits_for_its_transaction_to_commit() {
    let service = Service::start().await;
    let mut late = service.pool.begin().await.unwrap();
    let id: String = sqlx::query_scalar("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.write', reason => 'a test')::text")
        .fetch_one(&mut *late)
        .await
        .unwrap();
    let committed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        late.commit().await.unwrap();
    };
    let (found, ()) = tokio::join!(service.audit.record(id.parse().unwrap()), committed);
    assert!(found.unwrap().is_some());
}

/// After a failover, the former primary may be a standby that still responds.
#[tokio::test]
async fn a_connection_to_a_read_only_server_is_closed() {
    #[audited(action = "entry.fail")]
    async fn fail(tx: &mut Tx) -> Result<String, Failure> {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *tx)
            .await?;
        tx.details("pid", pid);
        Err(Failure(StatusCode::INTERNAL_SERVER_ERROR))
    }
    let service = Service::with(
        |builder| builder.max_connections(1),
        |router| router.route("/fail-of-its-own", post(fail)),
    )
    .await;
    let pids = async || {
        let mut pids = Vec::new();
        for _ in 0..2 {
            let response = service.post("/fail-of-its-own").send().await.unwrap();
            assert_eq!(response.status(), 500);
            pids.push(service.record_of(&response).await.details["pid"].clone());
        }
        pids
    };
    let kept = pids().await;
    assert_eq!(kept[0], kept[1]);
    // There is no standby in the test, so a planted function returns what it would return there.
    sqlx::raw_sql("CREATE SCHEMA there; CREATE FUNCTION there.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        .execute(&service.pool)
        .await
        .unwrap();
    let standby = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = there, pg_catalog, public', current_database()); END $$";
    sqlx::raw_sql(standby).execute(&service.pool).await.unwrap();
    // From outside the pool: a pooled connection would survive with its search path, and could be
    // the next one to be used.
    let ended = "SELECT bool_and(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut outside = PgConnection::connect_with(&service.pool.connect_options())
        .await
        .unwrap();
    let ended: bool = sqlx::query_scalar(ended)
        .fetch_one(&mut outside)
        .await
        .unwrap();
    assert!(ended);
    let closed = pids().await;
    assert_ne!(closed[0], closed[1]);
}

/// With serializable isolation, overlapping transactions can fail and have to be retried.
#[tokio::test]
async fn overlapping_attempts_are_all_recorded_with_serializable_isolation() {
    let database = database().await;
    let url = format!(
        "{}?options=-c%20default_transaction_isolation%3Dserializable",
        database.url()
    );
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    let attempts = (0..64).map(|n| {
        let path = if n % 2 == 0 { "/fail/409" } else { "/panic" };
        service.post(path).json(&Entry::new(n)).send()
    });
    futures_util::future::join_all(attempts).await;
    service.wait_for_records(64).await;
    assert_eq!(service.audit.status().lost_attempts, 0);
}

/// Behind a transaction pooler, a session sees the settings of others.
#[tokio::test]
async fn a_leftover_session_setting_is_not_mistaken_for_the_transactions_mark() {
    for statement in [
        "COMMIT",
        "COMMIT; BEGIN",
        "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN",
        "ROLLBACK; BEGIN; SET LOCAL platform_audit.transaction = 'on'",
    ] {
        for count in [1, 3] {
            let database = database().await;
            let url = format!(
                "{}?options=-c%20platform_audit.transaction%3Don",
                database.url()
            );
            let service = Service::on(database, &url, |builder| builder, |router| router).await;
            let ended = service
                .audit
                .transaction(Actor::system("job"), "entry.cheat", async |tx: &mut Tx| {
                    insert(tx, &Entry::new(1)).await?;
                    for n in 0..count {
                        tx.record("entry", n);
                    }
                    sqlx::raw_sql(statement).execute(&mut *tx).await?;
                    Ok::<_, Failure>(())
                })
                .await;
            let error = ended.expect_err(statement).to_string();
            assert!(
                error.contains("ended its own transaction"),
                "{statement}: {error}"
            );
            let records = service.all_records().await;
            let failed = |record: &platform_audit::AuditRecord| record.outcome == Outcome::Failed;
            assert!(records.iter().all(failed), "{statement}: {records:#?}");
        }
    }
}
