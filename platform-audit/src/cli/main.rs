//! `platform-audit`: sets the audit schema up, checks that the database holds the promise, and asks
//! the records.

mod actor;
mod asking;
mod catalogue;
mod check;
mod completions;
mod connection;
mod export;
mod history;
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
  2  it could not be done; what is wrong is said on standard error"
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
        Command::VerifyExport(options) => verify_export::run(&options),
        Command::Completions(options) => Ok(completions::run(&options)),
    };
    done.unwrap_or_else(|error| {
        // The message of our own error says all; the driver's own words may quote data.
        let is_ours = error.is::<platform_audit::Error>() || error.is::<ExportError>();
        if is_ours {
            output::hint(format_args!("platform-audit: {error}"));
        } else {
            output::hint(format_args!("platform-audit: {error:#}"));
        }
        ExitCode::from(2)
    })
}
