//! Kills, stops, cuts, delays and fills what a service stands on, and then joins every change to
//! its record.
//!
//! `./test --exec cargo run --release -p platform-tests --bin fault_rig -- --seconds 600 --seed 7`
//!
//! A real service (`subject.rs`, a process of its own) on a real Postgres that the rig may kill,
//! with a proxy between them. Exit status: 0 no orphan, 1 the promise was broken, 2 the rig itself
//! could not go on.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the rig is what it prints, and its service is there to fail"
)]

mod fault;
mod ledger;
mod load;
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
use crate::service::Service;

/// How long the clients send in a round.
const ROUND: Duration = Duration::from_millis(2500);
const FAULTS_A_ROUND: usize = 3;
/// The longest time that `--until-covered` adds.
const LONGEST: Duration = Duration::from_secs(600);

struct Options {
    seconds: u64,
    seed: u64,
    /// Continues until the run is [covered](is_covered), for at most [`LONGEST`].
    until_covered: bool,
    /// Lets the service change something outside the transaction, to see that the rig notices.
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
                        "`{other}` is unknown; write --seconds N, --seed N, --until-covered or --break-the-promise"
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
        // Also as a test that took too long is ended, lest a Postgres stay behind.
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

/// Whether the promise held.
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
        .map_err(|error| format!("the table could not be made: {error}"))?;
    let wire = Wire::before(&url).await;
    let service = Service::new(wire.through(&url), !break_the_promise);
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
    println!("seed {seed}: --seconds {seconds} --seed {seed} repeats this run");
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
        let mut suffered = Vec::new();
        for fault in Fault::of_round(seed, round, FAULTS_A_ROUND, with_clock) {
            tokio::time::sleep(Duration::from_millis(random.u64(100..600))).await;
            stage.suffer(fault, &mut random).await?;
            *faults.entry(fault).or_default() += 1;
            suffered.push(fault);
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
            "round {round}: {suffered:?}; {} requests, {} changes, {} records, {} orphan changes, {} orphan records, {} untrue answers",
            tally.answers.values().sum::<u64>(),
            tally.changes,
            tally.records,
            tally.orphan_changes,
            tally.orphan_records,
            tally.lies.len()
        );
        for lie in tally.lies.iter().take(5) {
            println!("  untrue: {lie}");
        }
        total.add(tally);
        stage.wire.reset();
        rounds += 1;
    }
    // Once more, all of it: what was done after its round was compared.
    let whole = ledger::settle(&url, "%", Vec::new()).await?;
    total.orphan_changes = total.orphan_changes.max(whole.orphan_changes);
    total.orphan_records = total.orphan_records.max(whole.orphan_records);
    summarise(seed, began.elapsed(), rounds, &faults, &total);
    Ok(!total.broken())
}

/// Whether a run is long enough to show something, however slow the machine is: every kind of fault
/// has happened, and requests got through between the faults. With a broken promise, whether the rig
/// has noticed it.
fn is_covered(
    total: &Tally,
    faults: &BTreeMap<Fault, u64>,
    with_clock: bool,
    break_the_promise: bool,
) -> bool {
    if break_the_promise {
        return total.orphan_changes > 0 && !total.lies.is_empty();
    }
    let kinds = Fault::kinds(with_clock);
    faults.len() == kinds
        && faults.values().sum::<u64>() >= 20
        && total.changes > 500
        && total.attempts > 50
        && total.hung_up > 0
        && total.answers.contains_key(&load::Answer::Unknown)
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

fn summarise(seed: u64, took: Duration, rounds: u64, faults: &BTreeMap<Fault, u64>, total: &Tally) {
    println!("\nseed                 {seed}");
    println!("seconds              {:.0}", took.as_secs_f64());
    println!("rounds               {rounds}");
    println!("faults               {}", faults.values().sum::<u64>());
    for (fault, count) in faults {
        println!("  {:<18} {count}", format!("{fault:?}"));
    }
    println!("clients that hung up {}", total.hung_up);
    println!(
        "requests             {}",
        total.answers.values().sum::<u64>()
    );
    for (answer, count) in &total.answers {
        println!("  {:<18} {count}", format!("{answer:?}"));
    }
    println!("committed changes    {}", total.changes);
    println!("success records      {}", total.records);
    println!("attempts recorded    {}", total.attempts);
    println!("orphan changes       {}", total.orphan_changes);
    println!("orphan records       {}", total.orphan_records);
    println!(
        "unknown outcomes     {} committed, {} not, by the record that the answer names",
        total.unknown_committed, total.unknown_not_committed
    );
    println!(
        "without an answer    {} committed, {} not",
        total.unanswered_committed, total.unanswered_not_committed
    );
    println!("untrue answers       {}", total.lies.len());
    println!(
        "\nfault_rig: {}",
        if total.broken() {
            "the promise was BROKEN"
        } else {
            "no orphan either way"
        }
    );
}
