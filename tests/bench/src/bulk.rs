//! Measures what `guard()` adds to a statement that changes many rows with one record: time, and
//! memory of the backend, compared with a table without the guard.

use std::time::Instant;

use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};

use crate::audit::installation::Installation;
use crate::audit::schemes::{GUARDED, SCHEMES, UNGUARDED};
use crate::requirements::{self, Requirement};
use crate::server;
use crate::spread::Spread;

const ROWS: u32 = 300_000;

const REQUIREMENTS: [Requirement; 1] = [Requirement::at_most("bulk.guarded_vs_unguarded", 2.0)];

pub(crate) fn run(quick: bool) -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(if quick { 3 } else { 7 }))
}

/// The costs of one transaction.
struct Cost {
    update_ms: f64,
    commit_ms: f64,
    /// The backend's private memory before COMMIT; `None` without `/proc`.
    mebibytes: Option<f64>,
}

async fn measure(pairs: usize) -> Map<String, Value> {
    say!("{}", server::describe().await);
    let tables = [UNGUARDED, GUARDED].map(|at| async move {
        let installation = Installation::new(&SCHEMES[at], None).await;
        fill(&installation).await;
        installation
    });
    let [unguarded, guarded] = tables;
    let tables = [unguarded.await, guarded.await];
    let mut turns = [Vec::new(), Vec::new()];
    for pair in 0..=pairs {
        for at in [pair % 2, 1 - pair % 2] {
            eprint!("\rpair {pair} of {pairs}   ");
            let took = update(&tables[at]).await;
            // The first one is a warm-up.
            if pair > 0 {
                turns[at].push(took);
            }
        }
    }
    eprint!("\r{:30}\r", "");
    let figure = |at: usize, what: fn(&Cost) -> f64| -> Vec<f64> {
        let turns: &Vec<Cost> = &turns[at];
        turns.iter().map(what).collect()
    };
    let both = |took: &Cost| took.update_ms + took.commit_ms;
    say!(
        "UPDATE of {ROWS} rows with one record, as the application role; medians of {pairs} alternating pairs\n{:<34} {:>10} {:>10} {:>7} {:>16} {:>8}",
        "",
        "UPDATE, ms",
        "COMMIT, ms",
        "ratio",
        "(quartiles)",
        "MiB"
    );
    let mut figures = Map::new();
    for (at, (scheme, key)) in [(UNGUARDED, "unguarded"), (GUARDED, "guarded")]
        .into_iter()
        .enumerate()
    {
        let ratio = Spread::of_ratios(&figure(at, both), &figure(0, both));
        let median = |what: fn(&Cost) -> f64| Spread::of(figure(at, what)).median;
        let update = median(|took| took.update_ms);
        let commit = median(|took| took.commit_ms);
        let mebibytes: Option<Vec<f64>> = turns[at].iter().map(|took| took.mebibytes).collect();
        let mebibytes = mebibytes.map(|all| Spread::of(all).median);
        say!(
            "  {:<32} {update:>10.0} {commit:>10.1} {:>7.2} {:>16} {:>8}",
            SCHEMES[scheme].name,
            ratio.median,
            format!("{:.2} to {:.2}", ratio.low, ratio.high),
            mebibytes.map_or(String::new(), |it| format!("{it:.1}"))
        );
        let mut put = |name: String, value: f64| {
            figures.insert(name, ((value * 1000.0).round() / 1000.0).into());
        };
        put(format!("bulk.{key}.update_ms"), update);
        put(format!("bulk.{key}.commit_ms"), commit);
        if let Some(mebibytes) = mebibytes {
            put(format!("bulk.{key}.mebibytes"), mebibytes);
        }
        if at > 0 {
            put("bulk.guarded_vs_unguarded".to_owned(), ratio.median);
        }
    }
    say!();
    requirements::report(&REQUIREMENTS, &figures);
    figures
}

async fn fill(installation: &Installation) {
    let rows = format!(
        "GRANT SELECT, UPDATE ON entry TO {{app}};
        BEGIN;
        INSERT INTO entry (id, amount, note) SELECT gen_random_uuid(), i, 'x' FROM generate_series(1, {ROWS}) AS i;
        SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.fill', reason => 'to be measured');
        COMMIT;
        ANALYZE entry"
    );
    installation.run(&rows).await;
}

async fn update(installation: &Installation) -> Cost {
    let superuser = PgConnection::connect(installation.superuser_url()).await;
    let mut superuser = superuser.expect("the server accepts connections");
    timed(&mut superuser, "VACUUM entry").await;
    timed(&mut superuser, "CHECKPOINT").await;
    let service = PgConnection::connect(&installation.app_url()).await;
    let mut service = service.expect("the server accepts connections");
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut service)
        .await
        .expect("a process id");
    timed(&mut service, "BEGIN").await;
    let update_ms = timed(&mut service, "UPDATE entry SET amount = amount + 1").await;
    let mebibytes = private_memory(backend);
    timed(&mut service, "SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.raise', reason => 'to be measured')").await;
    let commit_ms = timed(&mut service, "COMMIT").await;
    service.close().await.expect("the connection is closed");
    Cost {
        update_ms,
        commit_ms,
        mebibytes,
    }
}

/// Runs a statement; returns its duration in milliseconds.
async fn timed(connection: &mut PgConnection, statement: &'static str) -> f64 {
    let began = Instant::now();
    let done = sqlx::raw_sql(statement).execute(connection);
    done.await.expect("the role has the privileges");
    began.elapsed().as_secs_f64() * 1e3
}

/// The private memory of a local process, in MiB.
fn private_memory(process: i32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes / 1024.0)
}
