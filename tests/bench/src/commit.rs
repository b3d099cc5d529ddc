//! Measures the time of COMMIT per record, on a guarded table, by the number of records in the
//! transaction. It should not grow with this number.

use std::time::Instant;

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::audit::installation::Installation;
use crate::audit::schemes::{GUARDED, SCHEMES};
use crate::spread::Spread;

/// The number of changes in a transaction, each with its record, and the number of measurements.
pub(crate) const SIZES: [(u32, usize); 3] = [(100, 15), (10_000, 7), (100_000, 3)];

pub(crate) async fn measure() -> Map<String, Value> {
    let installation = Installation::new(&SCHEMES[GUARDED], None).await;
    let service = PgConnection::connect(&installation.app_url()).await;
    let mut service = service.expect("the server accepts connections");
    // With few records, waiting for the disk would take longer than everything else.
    run(&mut service, "SET synchronous_commit = off".to_owned()).await;
    say!(
        "COMMIT of changes on a guarded table, each with its record, without waiting for the disk; medians\n{:>9} {:>12} {:>24}",
        "records",
        "ms a record",
        "(quartiles)"
    );
    let mut figures = Map::new();
    for (changes, repeats) in SIZES {
        let mut times = Vec::new();
        for repeat in 0..=repeats {
            let took = commit(&mut service, changes).await;
            // The first one is a warm-up.
            if repeat > 0 {
                times.push(took / f64::from(changes));
            }
        }
        let times = Spread::of(times);
        say!(
            "{changes:>9} {:>12.5} {:>24}",
            times.median,
            format!("{:.5} to {:.5}", times.low, times.high)
        );
        let median = (times.median * 1e6).round() / 1e6;
        figures.insert(format!("commit.ms_per_record.{changes}"), median.into());
    }
    say!();
    figures
}

/// Makes so many changes with records; returns the duration of COMMIT in milliseconds.
async fn commit(service: &mut PgConnection, changes: u32) -> f64 {
    for statement in [
        "BEGIN".to_owned(),
        format!(
            "INSERT INTO entry (id, amount, note) SELECT gen_random_uuid(), i, 'x' FROM generate_series(1, {changes}) AS i"
        ),
        format!(
            "SELECT count(ledger_audit.write_record(actor => 'ada', action => 'entry.create', reason => 'measured', resource_type => 'entry', resource_id => i::text)) FROM generate_series(1, {changes}) AS i"
        ),
    ] {
        run(service, statement).await;
    }
    let began = Instant::now();
    run(service, "COMMIT".to_owned()).await;
    began.elapsed().as_secs_f64() * 1e3
}

async fn run(service: &mut PgConnection, statement: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(service);
    done.await.expect("the service's role has the privileges");
}
