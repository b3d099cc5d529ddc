//! `platform-audit`: sets the audit schema up, checks that the database holds the promise, and asks
//! the records.

mod actor;
mod asking;
mod catalogue;
mod check;
mod completions;
mod connection;
mod export;
mod harmless;
mod history;
mod interrupted;
mod migrate;
mod output;
mod query;
mod review;
mod serve;
mod show;
mod stats;
mod tail;
mod unite;
mod verify_export;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use platform_audit::export::ExportError;

/// The audit log of a service: sets it up, checks that the database holds its promise, and asks it.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    after_help = "\
Exit status, of all commands:
  0  done; what was asked for was found, and all is as it should be
  1  asked, and the answer is no: nothing found, a finding, a review not as expected, a file changed
  2  it could not be done; what is wrong is said on standard error
  141  whoever read what it printed had enough, as `head` does"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(migrate::Options),
    Check(check::Options),
    Query(query::Options),
    History(history::Options),
    Actor(actor::Options),
    Show(show::Options),
    Tail(tail::Options),
    Unite(unite::Options),
    Stats(stats::Options),
    Catalogue(catalogue::Options),
    Review(review::Options),
    Serve(serve::Options),
    Export(export::Options),
    VerifyExport(verify_export::Options),
    Completions(completions::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Migrate(options) => migrate::run(options).await,
        Command::Check(options) => check::run(options).await,
        Command::Query(options) => query::run(options).await,
        Command::History(options) => history::run(options).await,
        Command::Actor(options) => actor::run(options).await,
        Command::Show(options) => show::run(options).await,
        Command::Tail(options) => tail::run(options).await,
        Command::Unite(options) => unite::run(options).await,
        Command::Stats(options) => stats::run(options).await,
        Command::Catalogue(options) => catalogue::run(options).await,
        Command::Review(options) => review::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Export(options) => export::run(options).await,
        Command::VerifyExport(options) => verify_export::run(options).await,
        Command::Completions(options) => completions::run(&options),
    };
    if output::has_nobody_left() {
        return ExitCode::from(AS_BY_SIGPIPE);
    }
    done.unwrap_or_else(|error| {
        output::hint(format_args!("platform-audit: {}", words(&error)));
        ExitCode::from(2)
    })
}

/// As a shell tells that the signal for a pipe without a reader ended a command.
const AS_BY_SIGPIPE: u8 = 128 + 13;

/// What went wrong, and why. The message of our own error says all, and the driver's own words may
/// quote data.
fn words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain() {
        let driver = cause
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error);
        let said = match driver {
            Some(database) => database.message().to_owned(),
            None => cause.to_string(),
        };
        // Some say their own cause too.
        if !words.last().is_some_and(|before| before.ends_with(&said)) {
            words.push(said);
        }
        let is_ours = cause.is::<platform_audit::Error>() || cause.is::<ExportError>();
        if is_ours || driver.is_some() {
            break;
        }
    }
    words.join(": ")
}
