//! Injects faults into a service and its database, and then matches every committed change with its
//! audit record, and verifies the sealed log.
//!
//! `./test --exec cargo run --release -p platform-tests --bin fault_rig -- --seconds 600 --seed 7`
//!
//! The service (`subject.rs`) is a separate process. It connects through a proxy to a private
//! Postgres. An *orphan* is a change without its record, or a success record without its change.
//! Exit status: 0 without orphans and wrong responses, 1 with them, 2 if the rig itself failed.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: it prints its result, and its service panics on purpose"
)]

mod fault;
mod ledger;
mod load;
mod published;
mod service;
mod subject;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use platform_harness::wire::Wire;
use sqlx::{Connection, PgConnection};
use test_server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::fault::{Fault, Stage};
use crate::ledger::Tally;
use crate::published::Published;
use crate::service::Service;

/// How long the clients send requests in a round.
const ROUND: Duration = Duration::from_millis(2500);
const FAULTS_A_ROUND: usize = 3;
/// The maximum duration of a run with `--until-covered`.
const LONGEST: Duration = Duration::from_secs(600);

struct Options {
    seconds: u64,
    seed: u64,
    /// Continues until the run is [covered](is_covered), for at most [`LONGEST`].
    until_covered: bool,
    /// Makes the service commit changes outside the audited transaction, to test that the rig
    /// detects them.
    break_the_promise: bool,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self {
            seconds: 60,
            seed: fastrand::u64(..),
            until_covered: false,
            break_the_promise: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let given = arguments.next().unwrap_or_default();
                given
                    .parse()
                    .map_err(|_| format!("{argument} needs a number, not `{given}`"))
            };
            match argument.as_str() {
                "--seconds" => options.seconds = number()?,
                "--seed" => options.seed = number()?,
                "--until-covered" => options.until_covered = true,
                "--break-the-promise" => options.break_the_promise = true,
                other => {
                    return Err(format!(
                        "`{other}` is unknown: use --seconds N, --seed N, --until-covered or --break-the-promise"
                    ));
                }
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, serve, url] = arguments.as_slice()
        && [service::SERVE, service::SERVE_UNGUARDED].contains(&serve.as_str())
    {
        subject::serve(url, serve == service::SERVE).await;
        return ExitCode::SUCCESS;
    }
    let ran = async { run(Options::parse()?).await };
    let interrupted = async {
        // A test runner sends SIGTERM after its timeout. Postgres must be stopped then, too.
        let mut terminated = signal(SignalKind::terminate()).map_err(|it| it.to_string())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        Err("interrupted".to_owned())
    };
    let ended = tokio::select! {
        ended = ran => ended,
        ended = interrupted => ended,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("fault_rig: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether there were no orphans and no wrong responses.
async fn run(options: Options) -> Result<bool, String> {
    let Options {
        seconds,
        seed,
        until_covered,
        break_the_promise,
    } = options;
    let server = Server::start()?;
    let url = server.url();
    prepare(&url)
        .await
        .map_err(|error| format!("the table could not be created: {error}"))?;
    let wire = Wire::before(&url).await;
    let log = Published::new()?;
    let service = Service::new(wire.through(&url), !break_the_promise, log.clone());
    let with_clock = service.has_clock();
    if !with_clock {
        println!(
            "the clock cannot be shifted here: install libfaketime (Debian: apt-get install libfaketime)"
        );
    }
    let mut stage = Stage {
        server,
        wire,
        service,
    };
    stage.service.start().await?;

    let began = Instant::now();
    let mut total = Tally::default();
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let mut rounds = 0;
    let mut harms = 0;
    println!("seed {seed}; to repeat this run: --seconds {seconds} --seed {seed}");
    while began.elapsed() < Duration::from_secs(seconds)
        || until_covered
            && began.elapsed() < LONGEST
            && !is_covered(&total, &faults, with_clock, break_the_promise)
    {
        let round = rounds;
        let until = Instant::now() + ROUND;
        let clients: Vec<_> = (0..load::CLIENTS)
            .map(|number| {
                let address = stage.service.address();
                tokio::spawn(load::client(
                    address,
                    seed,
                    round,
                    number,
                    until,
                    break_the_promise,
                ))
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(seed ^ round << 32);
        let mut injected = Vec::new();
        for fault in Fault::of_round(seed, round, FAULTS_A_ROUND, with_clock) {
            tokio::time::sleep(Duration::from_millis(random.u64(100..600))).await;
            stage.inject(fault, &mut random).await?;
            *faults.entry(fault).or_default() += 1;
            injected.push(fault);
        }
        let mut sent = Vec::new();
        for client in clients {
            sent.extend(
                client
                    .await
                    .map_err(|error| format!("a client ended: {error}"))?,
            );
        }
        stage.service.start().await?;
        let tally = ledger::settle(&url, &format!("{round}-%"), sent).await?;
        println!(
            "round {round}: {injected:?}; {} requests, {} changes, {} records, {} orphan changes, {} orphan records, {} wrong responses",
            tally.outcomes.values().sum::<u64>(),
            tally.changes,
            tally.records,
            tally.orphan_changes,
            tally.orphan_records,
            tally.wrong_responses.len()
        );
        for response in tally.wrong_responses.iter().take(5) {
            println!("  wrong: {response}");
        }
        total.add(tally);
        let report = log.verify(&url).await?;
        println!(
            "  sealed: {} entries, {} records not yet; {} contradictions",
            report.size, report.unsealed, report.found
        );
        if Published::is_harmed(&report) {
            println!("{report}");
        }
        harms += report.found;
        stage.wire.reset();
        rounds += 1;
    }
    // All rounds again: changes may have been committed after the comparison of their round.
    let whole = ledger::settle(&url, "%", Vec::new()).await?;
    total.orphan_changes = total.orphan_changes.max(whole.orphan_changes);
    total.orphan_records = total.orphan_records.max(whole.orphan_records);
    let report = log.verify(&url).await?;
    println!("\nthe sealed log: {report}");
    harms += report.found;
    summarise(seed, began.elapsed(), rounds, &faults, &total, harms);
    Ok(!total.broken() && harms == 0)
}

/// Whether a run is long enough, also on a slow machine: every kind of fault has happened, and
/// enough requests succeeded between the faults. With `--break-the-promise`, whether the rig has
/// detected an orphan and a wrong response.
fn is_covered(
    total: &Tally,
    faults: &BTreeMap<Fault, u64>,
    with_clock: bool,
    break_the_promise: bool,
) -> bool {
    if break_the_promise {
        return total.orphan_changes > 0 && !total.wrong_responses.is_empty();
    }
    let kinds = Fault::kinds(with_clock);
    faults.len() == kinds
        && faults.values().sum::<u64>() >= 20
        && total.changes > 500
        && total.attempts > 50
        && total.disconnected > 0
        && total.outcomes.contains_key(&load::Outcome::Unknown)
}

async fn prepare(url: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "CREATE TABLE entry (key text NOT NULL, line int NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), PRIMARY KEY (key, line))",
    )
    .execute(&mut connection)
    .await?;
    connection.close().await
}

fn summarise(
    seed: u64,
    took: Duration,
    rounds: u64,
    faults: &BTreeMap<Fault, u64>,
    total: &Tally,
    harms: u64,
) {
    println!("\nseed                 {seed}");
    println!("seconds              {:.0}", took.as_secs_f64());
    println!("rounds               {rounds}");
    println!("faults               {}", faults.values().sum::<u64>());
    for (fault, count) in faults {
        println!("  {:<18} {count}", format!("{fault:?}"));
    }
    println!("clients disconnected {}", total.disconnected);
    println!(
        "requests             {}",
        total.outcomes.values().sum::<u64>()
    );
    for (outcome, count) in &total.outcomes {
        println!("  {:<18} {count}", format!("{outcome:?}"));
    }
    println!("committed changes    {}", total.changes);
    println!("success records      {}", total.records);
    println!("attempts recorded    {}", total.attempts);
    println!("orphan changes       {}", total.orphan_changes);
    println!("orphan records       {}", total.orphan_records);
    println!(
        "unknown outcomes     {} committed, {} not, by the record that the response names",
        total.unknown_committed, total.unknown_not_committed
    );
    println!(
        "without a response   {} committed, {} not",
        total.no_response_committed, total.no_response_not_committed
    );
    println!("wrong responses      {}", total.wrong_responses.len());
    println!("contradictions       {harms}");
    println!(
        "\nfault_rig: {}",
        if total.broken() || harms > 0 {
            "the promise was BROKEN"
        } else {
            "no orphan either way"
        }
    );
}
