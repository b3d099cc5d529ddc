//! Round trips to the database, and lost connections.

use platform_audit::Outcome;
use platform_harness::wire::{Cut, Wire};

use super::cases::{Entry, Service, record_id};
use super::database;

/// The beginnings of the messages that an audited request with one statement sends.
const MESSAGES: [&str; 4] = ["BEGIN", "BECS", "BECS", "COMMIT"];

/// A service whose connections go through a `Wire`.
async fn service_behind_wire() -> (Service, Wire) {
    let database = database().await;
    let wire = Wire::before(database.url()).await;
    let url = wire.through(database.url());
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    // Prepares every statement on the connection.
    for n in 0..3 {
        assert_eq!(service.send("/entries", &Entry::new(n)).await.status(), 201);
    }
    wire.reset();
    (service, wire)
}

fn seen(wire: &Wire) -> Vec<String> {
    let name = |flight: platform_harness::wire::Flight| match flight.query {
        Some(query) => query
            .split([';', ' '])
            .next()
            .unwrap_or_default()
            .to_owned(),
        None => flight.kinds,
    };
    wire.flights().into_iter().map(name).collect()
}

#[tokio::test]
async fn an_audited_request_with_one_statement_makes_four_round_trips() {
    let (service, wire) = service_behind_wire().await;
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 201);
    // Messages after the response would arrive in this time.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(
        seen(&wire),
        MESSAGES,
        "the change is one prepared statement, and so is a single record"
    );
}

/// `pg_stat_statements` normalises constants away, but before Postgres 18 only in queries and DML.
/// Other statements with constants would become separate entries and evict all others.
#[tokio::test]
async fn all_requests_send_the_same_statements() {
    let (service, wire) = service_behind_wire().await;
    let mut seen = Vec::new();
    for n in 0..2 {
        wire.reset();
        assert_eq!(service.send("/entries", &Entry::new(n)).await.status(), 201);
        let queries = wire.flights().into_iter().filter_map(|it| it.query);
        let statements: Vec<String> = queries
            .flat_map(|it| it.split("; ").map(str::to_owned).collect::<Vec<_>>())
            .filter(|it| !it.starts_with("SELECT "))
            .collect();
        seen.push(statements);
    }
    assert!(seen[0].len() >= 2, "BEGIN and COMMIT: {seen:?}");
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn many_records_of_one_request_are_inserted_with_one_statement() {
    let (service, wire) = service_behind_wire().await;
    let entries: Vec<_> = (0..30).map(Entry::new).collect();
    service.post("/import").json(&entries).send().await.unwrap();
    wire.reset();
    let response = service
        .post("/import")
        .json(&(0..30).map(Entry::new).collect::<Vec<_>>())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let seen = seen(&wire);
    assert_eq!(
        seen.len(),
        30 + 3,
        "thirty changes, and BEGIN, one statement for thirty records, COMMIT: {seen:?}"
    );
}

/// It records the attempt, in one statement.
#[tokio::test]
async fn a_handler_that_fails_before_its_first_statement_begins_no_transaction() {
    #[platform_audit::audited(action = "entry.validate")]
    async fn validate(_tx: &mut super::cases::Tx) -> axum::http::StatusCode {
        axum::http::StatusCode::UNPROCESSABLE_ENTITY
    }
    let database = database().await;
    let wire = Wire::before(database.url()).await;
    let url = wire.through(database.url());
    let route = platform_audit::routing::post(validate);
    let service = Service::on(database, &url, |b| b, |r| r.route("/validate", route)).await;
    for _ in 0..3 {
        wire.reset();
        let response = service.post("/validate").send().await.unwrap();
        assert_eq!(response.status(), 422);
        assert_eq!(service.record_of(&response).await.outcome, Outcome::Invalid);
    }
    let begun = seen(&wire).iter().filter(|it| *it == "BEGIN").count();
    assert_eq!(begun, 0, "{:?}", seen(&wire));
}

#[tokio::test]
async fn a_request_makes_no_more_round_trips_at_full_load() {
    let (service, wire) = service_behind_wire().await;
    let load = async |count: i64| {
        let sent = (0..count).map(|n| {
            let service = &service;
            async move { service.send("/entries", &Entry::new(n)).await.status() }
        });
        futures_util::future::join_all(sent).await
    };
    // Opens the maximum number of connections, and prepares the statements on each.
    load(200).await;
    wire.reset();
    assert!(load(200).await.iter().all(|status| *status == 201));
    let flights = wire.flights();
    let prepared = flights
        .iter()
        .filter(|flight| flight.kinds.contains('P'))
        .count();
    assert!(
        flights.len() <= MESSAGES.len() * 200 + prepared,
        "{} round trips, {prepared} of them to prepare",
        flights.len()
    );
}

#[tokio::test]
async fn a_connection_lost_during_commit_gets_503_with_the_record_id() {
    for committed in [true, false] {
        let (service, wire) = service_behind_wire().await;
        let before = service.entries().await;
        wire.cut_at("COMMIT", committed);
        let response = service.send("/entries", &Entry::new(1)).await;
        assert_eq!(response.status(), 503);
        let id = record_id(&response);
        assert!(response.text().await.unwrap().contains(&id.to_string()));
        let record = service.audit.record(id).await.unwrap();
        assert_eq!(
            record.is_some(),
            committed,
            "the record exists if and only if it was committed"
        );
        assert_eq!(service.entries().await, before + i64::from(committed));
        if let Some(record) = record {
            assert_eq!(record.outcome, Outcome::Success);
        }
        assert_eq!(service.audit.status().unknown_commits, 1);
        assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    }
}

#[tokio::test]
async fn a_connection_lost_before_commit_changes_nothing_and_is_recorded() {
    for table in ["INSERT INTO entry", "INSERT INTO ledger_audit.record"] {
        let (service, wire) = service_behind_wire().await;
        let before = service.entries().await;
        wire.cut_when(Cut::BeforeServer, move |message| {
            message.kind == 'B' && message.sql.is_some_and(|sql| sql.contains(table))
        });
        let response = service.send("/entries", &Entry::new(1)).await;
        assert_eq!(response.status(), 500, "cut at {table}");
        assert_eq!(service.entries().await, before);
        let record = service.record_of(&response).await;
        assert_eq!(record.outcome, Outcome::Failed, "cut at {table}");
    }
}

#[tokio::test]
async fn a_stale_connection_lost_at_begin_is_replaced_and_begin_is_retried() {
    let (service, wire) = service_behind_wire().await;
    let before = service.entries().await;
    wire.cut_at("BEGIN", false);
    assert_eq!(service.send("/entries", &Entry::new(1)).await.status(), 201);
    assert_eq!(service.entries().await, before + 1);
}

/// The connection is not stale, so the server has a problem, and there is no retry.
#[tokio::test]
async fn a_new_connection_lost_at_begin_gets_503_and_is_recorded() {
    let database = database().await;
    let wire = Wire::before(database.url()).await;
    let url = wire.through(database.url());
    let service = Service::on(database, &url, |builder| builder, |router| router).await;
    wire.cut();
    wire.cut_at("BEGIN", false);
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 503);
    service.wait_for_records(1).await;
    let record = service.record_of(&response).await;
    assert_eq!(record.error_type.as_deref(), Some("begin_failed"));
    assert_eq!(service.entries().await, 0);
}
