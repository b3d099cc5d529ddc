//! Measures the sealed log: how fast it is verified, how far sealing lags behind, and what it costs
//! the writers, the server and the disk.

use std::time::{Duration, Instant};

use platform_audit::seal::{Seal, Verdict, Verify, new_key};
use platform_audit::{Actor, Audit, AuditBuilder, AuditTx};
use serde_json::{Map, Value};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres};

use crate::audit::installation::Installation;
use crate::audit::schemes::{GUARDED, SCHEMES};
use crate::requirements::{self, Requirement};
use crate::spread::Spread;
use crate::{cpu, log, server};

const REQUIREMENTS: [Requirement; 6] = [
    Requirement::at_least("seal.verify.records_per_second", 200_000.0),
    Requirement::at_most("seal.lag_p99_s", 2.0),
    Requirement::at_most("seal.lag_open_writer_p99_s", 2.0),
    Requirement::at_least("seal.writers.throughput", 0.98),
    Requirement::at_most("seal.server_us_per_record", 5.0),
    Requirement::at_most("seal.bytes_per_record", 230.0),
];

/// The rate at which records are written while the lag is measured, and their number in a
/// transaction.
const RATE: u32 = 5_000;
const PER_TRANSACTION: u32 = 10;

/// The number of concurrent writers while their throughput is measured.
const WRITERS: usize = 16;

pub(crate) fn run(quick: bool, records: Option<i64>) -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(quick, records))
}

async fn measure(quick: bool, records: Option<i64>) -> Map<String, Value> {
    say!("{}", server::describe().await);
    let mut figures = Map::new();
    history(
        records.unwrap_or(if quick { 100_000 } else { 1_000_000 }),
        &mut figures,
    )
    .await;
    cost(if quick { 2_000 } else { 20_000 }, &mut figures).await;
    let seconds = if quick { 5 } else { 20 };
    lag(seconds, false, "seal.lag", &mut figures).await;
    lag(seconds, true, "seal.lag_open_writer", &mut figures).await;
    writers(if quick { 3 } else { 9 }, &mut figures).await;
    say!();
    requirements::report(&REQUIREMENTS, &figures);
    figures
}

fn put(figures: &mut Map<String, Value>, name: &str, value: f64) {
    figures.insert(name.to_owned(), ((value * 1000.0).round() / 1000.0).into());
}

fn builder(pool: &PgPool) -> AuditBuilder<Postgres> {
    Audit::builder(pool.clone(), "ledger").development(true)
}

async fn connect(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(20).connect(url);
    pool.await.expect("the server accepts connections")
}

/// Seals and verifies a log of 13 months.
async fn history(records: i64, figures: &mut Map<String, Value>) {
    let installation = Installation::new(&SCHEMES[GUARDED], None).await;
    log::write(installation.owner(), records).await;
    let pool = connect(&installation.app_url()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = new_key("bench").expect("a key");
    let verifier_key = key.verifier_key().to_string();
    let seal = Seal::new(key)
        .expect("a key of a log")
        .publish_to(folder.path());

    let began = Instant::now();
    let sealed = builder(&pool)
        .seal_now(&seal)
        .await
        .expect("the log is sealed");
    let rate = sealed.sealed as f64 / began.elapsed().as_secs_f64();
    say!(
        "{} entries sealed and published at {rate:.0} a second",
        sealed.sealed
    );
    put(figures, "seal.backlog.records_per_second", rate);

    let verify = Verify::default()
        .key(&verifier_key)
        .expect("a key")
        .tiles(folder.path());
    let (mut rates, mut client) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let before = cpu::of_this_process();
        let began = Instant::now();
        let report = builder(&pool)
            .verify(&verify)
            .await
            .expect("the log is read");
        let took = began.elapsed().as_secs_f64();
        assert_eq!(report.verdict(), Verdict::Proven, "{report}");
        rates.push(report.checked.records as f64 / took);
        if let (Some(before), Some(after)) = (before, cpu::of_this_process()) {
            client.push((after - before) / report.checked.records as f64);
        }
    }
    let rate = Spread::of(rates).median;
    say!("verified at {rate:.0} records a second");
    put(figures, "seal.verify.records_per_second", rate);
    if !client.is_empty() {
        let client = Spread::of(client).median;
        say!("  {client:.2} µs of client time a record");
        put(figures, "seal.verify.client_us_per_record", client);
    }
}

/// What a sealed record costs the server: its time, and its disk.
async fn cost(transactions: u32, figures: &mut Map<String, Value>) {
    let installation = Installation::new(&SCHEMES[GUARDED], None).await;
    let pool = connect(&installation.app_url()).await;
    let seal = Seal::new(new_key("bench").expect("a key")).expect("a key of a log");
    write_records(&pool, transactions, None).await;
    let superuser = PgConnection::connect(installation.superuser_url()).await;
    let mut superuser = superuser.expect("the server accepts connections");
    let checkpoint = sqlx::raw_sql("CHECKPOINT").execute(&mut superuser);
    checkpoint.await.expect("a superuser may do that");

    let postmaster = server::postmaster().await;
    let server_time = || postmaster.and_then(cpu::of_children);
    let before = server_time();
    let sealed = builder(&pool)
        .seal_now(&seal)
        .await
        .expect("the log is sealed");
    let entries = sealed.sealed as f64;
    if let Some((before, after)) = before.zip(server_time()) {
        let server_us = (after - before) / entries;
        say!(
            "{server_us:.2} µs of server time to seal a record, of transactions of {PER_TRANSACTION}"
        );
        put(figures, "seal.server_us_per_record", server_us);
    }
    let bytes: i64 = sqlx::query_scalar(
        "SELECT sum(pg_total_relation_size('ledger_audit.' || name))::bigint FROM unnest(ARRAY['seal','tile','log_entry','checkpoint','tree']) AS name",
    )
    .fetch_one(installation.owner())
    .await
    .expect("the tables exist");
    let bytes = bytes as f64 / entries;
    say!("{bytes:.0} bytes a sealed record in the database");
    put(figures, "seal.bytes_per_record", bytes);
}

/// Writes transactions of [`PER_TRANSACTION`] records each with four connections: so many a second,
/// or as fast as possible.
async fn write_records(pool: &PgPool, transactions: u32, a_second: Option<u32>) {
    let began = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let pool = pool.clone();
        writers.push(tokio::spawn(async move {
            let mut connection = pool.acquire().await.expect("a connection");
            for number in (writer..transactions).step_by(4) {
                if let Some(rate) = a_second {
                    let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                    tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                }
                sqlx::query("SELECT ledger_audit.write_record(actor => 'ada', action => 'entry.create', reason => 'measured', resource_type => 'entry', resource_id => i::text, changes => '{\"amount\": {\"after\": 7}}') FROM generate_series(1, $1) AS i")
                    .bind(PER_TRANSACTION.cast_signed())
                    .execute(&mut *connection)
                    .await
                    .expect("records are written");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("the writer ends");
    }
}

/// Seals while records are written at a fixed rate. The lag of a record is the time from its
/// `recorded_at` until the tree that contains it was committed.
async fn lag(seconds: u32, open_writer: bool, name: &str, figures: &mut Map<String, Value>) {
    let installation = Installation::new(&SCHEMES[GUARDED], None).await;
    let pool = connect(&installation.app_url()).await;
    let seal = Seal::new(new_key("bench").expect("a key")).expect("a key of a log");
    let mut open = PgConnection::connect(&installation.app_url())
        .await
        .expect("a connection");
    if open_writer {
        let begin = "BEGIN; SELECT pg_current_xact_id()::text";
        sqlx::raw_sql(begin)
            .execute(&mut open)
            .await
            .expect("a transaction");
    }
    let sealing = {
        let pool = pool.clone();
        tokio::spawn(async move { builder(&pool).seal_forever(&seal).await })
    };
    let watching = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut sizes: Vec<(i64, f64)> = Vec::new();
            loop {
                let seen: (i64, f64) = sqlx::query_as(
                    "SELECT size, extract(epoch FROM clock_timestamp())::float8 FROM ledger_audit.tree",
                )
                .fetch_one(&pool)
                .await
                .expect("the tree exists");
                if sizes.last().is_none_or(|last| last.0 != seen.0) {
                    sizes.push(seen);
                }
                let done: bool = sqlx::query_scalar("SELECT count(*) = 0 FROM ledger_audit.record WHERE xid >= (SELECT pg_snapshot_xmax(seen) FROM ledger_audit.tree)")
                    .fetch_one(&pool)
                    .await
                    .expect("the log exists");
                if done && seen.0 >= i64::from(RATE * seconds) {
                    return sizes;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let began = Instant::now();
    let a_second = RATE / PER_TRANSACTION;
    write_records(&pool, a_second * seconds, Some(a_second)).await;
    let wrote = began.elapsed().as_secs_f64();
    let sizes = watching.await.expect("everything is sealed");
    sealing.abort();
    let times: Vec<(i64, f64)> = sqlx::query_as(
        "SELECT position, extract(epoch FROM recorded_at)::float8 FROM ledger_audit.seal ORDER BY position",
    )
    .fetch_all(&pool)
    .await
    .expect("the seals exist");
    let mut lags: Vec<f64> = times
        .iter()
        .filter_map(|(position, recorded)| {
            let sealed = sizes.iter().find(|(size, _)| size > position)?;
            Some(sealed.1 - recorded)
        })
        .collect();
    lags.sort_by(f64::total_cmp);
    let at = |part: f64| lags[((lags.len() - 1) as f64 * part) as usize];
    say!(
        "lag at {:.0} records a second{}: median {:.2} s, p99 {:.2} s, max {:.2} s",
        lags.len() as f64 / wrote,
        if open_writer {
            " beside an open transaction"
        } else {
            ""
        },
        at(0.5),
        at(0.99),
        at(1.0)
    );
    put(figures, &format!("{name}_p50_s"), at(0.5));
    put(figures, &format!("{name}_p99_s"), at(0.99));
}

/// The throughput of writers beside a sealer, compared with writers alone.
async fn writers(pairs: usize, figures: &mut Map<String, Value>) {
    let installation = Installation::new(&SCHEMES[GUARDED], None).await;
    let pool = connect(&installation.app_url()).await;
    let seal = Seal::new(new_key("bench").expect("a key")).expect("a key of a log");
    let audit = builder(&pool).start().await.expect("the service starts");
    let mut rates = [Vec::new(), Vec::new()];
    for pair in 0..=pairs {
        for with_sealer in [pair % 2 == 0, pair % 2 == 1] {
            eprint!("\rpair {pair} of {pairs}   ");
            // Nothing is left to seal from the turn before.
            builder(&pool)
                .seal_now(&seal)
                .await
                .expect("the log is sealed");
            let sealing = with_sealer.then(|| {
                let (pool, seal) = (pool.clone(), seal.clone());
                tokio::spawn(async move { builder(&pool).seal_forever(&seal).await })
            });
            let rate = write(&audit).await;
            if let Some(sealing) = sealing {
                sealing.abort();
            }
            // The first one is a warm-up.
            if pair > 0 {
                rates[usize::from(with_sealer)].push(rate);
            }
        }
    }
    eprint!("\r{:30}\r", "");
    let ratio = Spread::of_ratios(&rates[1], &rates[0]);
    say!(
        "{WRITERS} writers beside a sealer: {:.3} of their throughput alone (quartiles {:.3} to {:.3}, {pairs} alternating pairs; {:.0} transactions a second)",
        ratio.median,
        ratio.low,
        ratio.high,
        Spread::of(rates[0].clone()).median
    );
    put(figures, "seal.writers.throughput", ratio.median);
}

/// Audited changes a second, for five seconds.
async fn write(audit: &Audit<Postgres>) -> f64 {
    let began = Instant::now();
    let until = began + Duration::from_secs(5);
    let mut tasks = Vec::new();
    for _ in 0..WRITERS {
        let audit = audit.clone();
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u32;
            while Instant::now() < until {
                let changed = audit.transaction(
                    Actor::user("ada"),
                    "entry.create",
                    async |tx: &mut AuditTx| {
                        let id = uuid::Uuid::now_v7();
                        sqlx::query("INSERT INTO entry (id, amount, note) VALUES ($1, 7, 'x')")
                            .bind(id)
                            .execute(&mut *tx)
                            .await?;
                        tx.record("entry", id);
                        Ok::<_, sqlx::Error>(())
                    },
                );
                changed.await.expect("the change is committed");
                done += 1;
            }
            done
        }));
    }
    let mut all = 0;
    for task in tasks {
        all += task.await.expect("the writer ends");
    }
    f64::from(all) / began.elapsed().as_secs_f64()
}
