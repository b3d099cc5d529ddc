//! What is sealed stays sealed, wherever its message is written down.

use axum::http::StatusCode;
use platform_audit::audited;
use platform_audit::routing::post;
use platform_tests::events;
use platform_tests::wire::Wire;
use sqlx::AssertSqlSafe;

use super::cases::{Failure, Service, Tx, record_id};
use super::database;

/// What the record says, and no message of it may.
const NAME: &str = "Hypatia of Alexandria";

#[audited(action = "visit.create")]
async fn visit(tx: &mut Tx) -> Result<StatusCode, Failure> {
    tx.record("visit", "1").detail("patient", NAME);
    Ok(StatusCode::CREATED)
}

async fn behind_a_wire() -> (Service, Wire) {
    let database = database().await;
    let wire = Wire::before(database.url()).await;
    let url = wire.through(database.url());
    let route = |router: platform_audit::routing::Router<_>| router.route("/visits", post(visit));
    let service = Service::on(database, &url, |builder| builder, route).await;
    wire.reset();
    (service, wire)
}

#[tokio::test]
async fn a_record_can_be_read_in_the_table_and_in_no_message() {
    let (service, wire) = behind_a_wire().await;
    let answer = service.post("/visits").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let record = service.audit.record(record_id(&answer)).await.unwrap();
    assert_eq!(record.unwrap().details["patient"], NAME);
    let messages: Vec<_> = wire
        .flights()
        .into_iter()
        .filter_map(|it| it.query)
        .collect();
    assert!(
        messages.iter().any(|text| text.contains("write_sealed")),
        "{messages:?}"
    );
    let hex = NAME
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    for text in messages {
        assert!(!text.contains(NAME) && !text.contains(&hex), "{text}");
    }
}

#[tokio::test]
async fn the_drivers_log_never_holds_a_pad() {
    let (service, wire) = behind_a_wire().await;
    let events = events::capture_all();
    let answer = service.post("/visits").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let log = events.text();
    assert!(
        log.contains("write_sealed"),
        "the driver logs what it runs: {log}"
    );
    let pads: Vec<_> = wire
        .flights()
        .into_iter()
        .filter_map(|flight| {
            flight
                .query?
                .split_once("'x")
                .map(|it| it.1[..64].to_owned())
        })
        .collect();
    assert!(!pads.is_empty(), "each transaction has a pad");
    for pad in pads {
        assert!(!log.contains(&pad), "{log}");
    }
}

#[tokio::test]
async fn nothing_is_opened_outside_the_transaction_it_was_sealed_for() {
    let service = Service::start().await;
    let sealed = "SELECT ledger_audit.write_sealed(X'7B7B')";
    for (before, expected) in [
        ("", "AU003"),
        ("SET LOCAL platform_audit.transaction = 'on'; ", "AU003"),
        // Opened with another pad it is no record, and what is shorter than the record opens nothing.
        ("SET LOCAL platform_audit.pad = 'x0001'; ", "22P02"),
        ("SET LOCAL platform_audit.pad = 'x00'; ", "22026"),
    ] {
        let mut connection = service.pool.acquire().await.unwrap().detach();
        let refused = sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {before}{sealed}; COMMIT")))
            .execute(&mut connection)
            .await
            .unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap();
        assert_eq!(code, expected, "{before}");
    }
}
