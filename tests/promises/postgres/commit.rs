//! What only Postgres and its driver can break at begin and commit.

use std::time::Duration;

use axum::http::StatusCode;
use platform_audit::routing::post;
use platform_audit::{Actor, Outcome, audited};
use platform_harness::wire::Wire;
use sqlx::{Connection, PgConnection, PgPool};

use super::cases::{Entry, Failure, Service, Tx, insert, record_id, wait_until};
use super::database;

/// Swallows a statement's error, which aborts the transaction, and answers 201 all the same.
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

    // Without the toolkit: sqlx 0.9 calls the commit of an aborted transaction a success.
    let mut plain = service.pool.begin().await.unwrap();
    let refused = sqlx::query("INSERT INTO entry VALUES ('plain', -1, '', '')")
        .execute(&mut *plain)
        .await;
    assert!(refused.is_err());
    assert!(
        plain.commit().await.is_ok(),
        "the hazard is gone: the defence may go too"
    );

    let answer = service.post("/swallow").send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("record_refused"))
    );
}

/// A pool whose only connection has a transaction open of which the pool knows nothing: its
/// `begin` was cancelled while the answer was under way.
async fn tainted_pool(wire: &Wire, url: &str) -> PgPool {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&wire.through(url))
        .await
        .unwrap();
    wire.hold(true);
    let begin = tokio::time::timeout(Duration::from_millis(50), pool.begin()).await;
    assert!(begin.is_err(), "nothing answers while the wire is held");
    wire.hold(false);
    // Two statements of one transaction have the same time.
    let mut times = Vec::new();
    for _ in 0..2 {
        let now = sqlx::query_scalar::<_, String>("SELECT now()::text");
        times.push(now.fetch_one(&pool).await.unwrap());
    }
    assert_eq!(
        times[0], times[1],
        "no transaction was left open: the hazard is gone, the defence may go too"
    );
    pool
}

#[tokio::test]
async fn a_cancelled_begin_of_the_services_pool_taints_no_audited_work() {
    let database = database().await;
    let url = database.url().to_owned();
    let wire = Wire::before(&url).await;
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    let tainted = tainted_pool(&wire, &url).await;
    // Whoever borrows that connection now believes this to be committed.
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
    // The stray change did not slip into the audited transaction.
    let records = service
        .scalar("SELECT count(*) FROM other_audit.record")
        .await;
    assert_eq!((service.entries().await, records), (1, 1));
}

#[tokio::test]
async fn a_cancelled_begin_of_audited_work_leaves_no_transaction_open() {
    let service = Service::start().await;
    service.send("/entries", &Entry::new(0)).await;
    for micros in (0..400).step_by(7) {
        let work =
            service
                .audit
                .transaction(Actor::system("job"), "entry.cut", async |tx: &mut Tx| {
                    insert(tx, &Entry::new(1)).await?;
                    std::future::pending::<()>().await;
                    Ok::<_, Failure>(())
                });
        let cut = tokio::time::timeout(Duration::from_micros(micros), work).await;
        assert!(cut.is_err());
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    wait_until(|| async { service.scalar(open).await == 0 }).await;
    assert_eq!(service.entries().await, 1, "only the first was committed");
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    assert_eq!(service.entries().await, 2);
}

#[tokio::test]
async fn stale_connections_cost_no_request() {
    let service = Service::start().await;
    for n in 0..3 {
        assert_eq!(service.send("/entries", &Entry::new(n)).await.status(), 201);
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        service.scalar(cut).await;
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
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.only_record().await;
    assert_eq!(record.id, record_id(&answer));
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("commit_refused"))
    );
    assert_eq!(record.resource_type.as_deref(), Some("entry"));
    assert!(record.resource_id.is_some(), "of what was to be changed");
}

/// A superuser's trigger turns the success into a failure, which is no record of the change.
#[tokio::test]
async fn a_commit_that_the_guard_refuses_is_recorded_as_an_unaudited_change() {
    let service = Service::with(|builder| builder.guard(["entry"]), |router| router).await;
    let weaken = "CREATE FUNCTION weaken() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.outcome = ''success'' THEN NEW.outcome := ''failed''; END IF; RETURN NEW; END';
        CREATE TRIGGER weaken BEFORE INSERT ON ledger_audit.record FOR EACH ROW EXECUTE FUNCTION weaken()";
    sqlx::raw_sql(weaken).execute(&service.pool).await.unwrap();
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
    let record = service.record_of(&answer).await;
    assert_eq!(
        (record.outcome, record.error_type.as_deref()),
        (Outcome::Failed, Some("unaudited_change"))
    );
}

/// As a pooler tells of a server that it lost in the middle of a COMMIT, of which nobody knows
/// whether it was done.
#[tokio::test]
async fn an_internal_error_at_commit_is_no_refusal() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'lost' USING ERRCODE = 'XX000'; END $$;
         CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .execute(&service.pool)
    .await
    .unwrap();
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 503);
    let id = record_id(&answer);
    assert!(answer.text().await.unwrap().contains("if and only if"));
    assert!(service.audit.record(id).await.unwrap().is_none());
    assert_eq!(service.entries().await, 0);
}

/// A service whose connections can vanish without a word, as by a power failure of their server:
/// nothing is refused, nothing closed.
async fn vanishing(bounded: Duration) -> (Wire, Service) {
    let database = database().await;
    let url = database.url().to_owned();
    let wire = Wire::before(&url).await;
    let through = wire.through(&url);
    let service = Service::made(
        database,
        &through,
        |options| options.acquire_timeout(Duration::from_secs(2)),
        |builder| builder.max_connections(1).commit_within(bounded),
        |router| router,
    );
    let service = service.await;
    (wire, service)
}

/// Sends until it is done: each connection that is idle in the service's own pool is given up, too,
/// one at a time, as sqlx does.
async fn sent_at_last(service: &Service) -> reqwest::Response {
    for _ in 0..10 {
        let answer = service.send("/entries", &Entry::new(2)).await;
        if answer.status() == 201 {
            return answer;
        }
        assert_eq!(answer.status(), 503);
    }
    panic!("no connection comes back");
}

#[tokio::test]
async fn a_server_that_vanished_costs_seconds_and_no_connection_for_ever() {
    let (wire, service) = vanishing(Duration::from_secs(60)).await;
    service.send("/entries", &Entry::new(1)).await;
    // No client gives up.
    wire.freeze();
    let id = record_id(&sent_at_last(&service).await);
    // Nor does who asks for a record.
    wire.freeze();
    wait_until(|| async { matches!(service.audit.record(id).await, Ok(Some(_))) }).await;
}

#[tokio::test]
async fn a_commit_that_is_never_answered_is_an_unknown_outcome() {
    let (wire, service) = vanishing(Duration::from_secs(1)).await;
    let entry = Entry::new(1);
    let frozen = async {
        service.gates.inside.notified().await;
        wire.freeze();
        service.gates.go_on.notify_one();
    };
    let (answer, ()) = tokio::join!(service.send("/wait", &entry), frozen);
    assert_eq!(answer.status(), 503);
    let id = record_id(&answer);
    assert!(answer.text().await.unwrap().contains("if and only if"));
    sent_at_last(&service).await;
    assert!(service.audit.record(id).await.unwrap().is_none());
}

/// What is not there may be about to be.
#[tokio::test]
async fn a_record_that_is_asked_for_while_its_transaction_commits_is_waited_for() {
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

/// After a failover, the writer of before may be a standby, and answer.
#[tokio::test]
async fn a_connection_to_a_server_that_takes_no_writes_is_not_kept() {
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
            let answer = service.post("/fail-of-its-own").send().await.unwrap();
            assert_eq!(answer.status(), 500);
            pids.push(service.record_of(&answer).await.details["pid"].clone());
        }
        pids
    };
    let kept = pids().await;
    assert_eq!(kept[0], kept[1]);
    // No standby is at hand; so the function says what it would say there.
    sqlx::raw_sql("CREATE SCHEMA there; CREATE FUNCTION there.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        .execute(&service.pool)
        .await
        .unwrap();
    let standby = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = there, pg_catalog, public', current_database()); END $$";
    sqlx::raw_sql(standby).execute(&service.pool).await.unwrap();
    // Sent from outside the pool: a pooled connection would survive, keep its search path, and
    // might be the next one that is used.
    let ended = "SELECT bool_and(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut outside = PgConnection::connect_with(&service.pool.connect_options())
        .await
        .unwrap();
    let ended: bool = sqlx::query_scalar(ended)
        .fetch_one(&mut outside)
        .await
        .unwrap();
    assert!(ended);
    let given_up = pids().await;
    assert_ne!(given_up[0], given_up[1]);
}

/// Of two attempts that overlap, a serializable database takes one at a time.
#[tokio::test]
async fn attempts_that_overlap_are_all_recorded_where_transactions_are_serializable() {
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

/// Through a transaction pooler, sessions see what others set.
#[tokio::test]
async fn nothing_that_a_session_left_behind_passes_for_the_transactions_mark() {
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
