//! `platform-audit`: sets up the audit schema, checks that every change is audited, and queries the
//! records, and proves that nobody changed them.

mod actor;
mod catalogue;
mod check;
mod completions;
mod connection;
mod export;
mod history;
mod key;
mod log;
mod migrate;
mod output;
mod prove;
mod query;
mod reader;
mod review;
mod seal;
mod serve;
mod show;
mod signals;
mod stats;
mod tail;
mod terminal;
mod unite;
mod verify;
mod verify_export;
mod verify_proof;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use platform_audit::export::ExportError;
use platform_audit::seal::SealError;

/// Sets up, checks and queries the audit log of a service.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    after_help = "\
Exit status of all commands:
  0  success
  1  negative result: no records, a finding, a failed review, a changed file
  2  error; the cause is printed to standard error
  141  the reader of the output closed the pipe, as `head` does"
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
    Key(key::Options),
    Seal(seal::Options),
    Verify(verify::Options),
    Prove(prove::Options),
    VerifyProof(verify_proof::Options),
    Log(log::Options),
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
        Command::Key(options) => key::run(options),
        Command::Seal(options) => seal::run(options).await,
        Command::Verify(options) => verify::run(options).await,
        Command::Prove(options) => prove::run(options).await,
        Command::VerifyProof(options) => verify_proof::run(&options),
        Command::Log(options) => log::run(options).await,
        Command::Completions(options) => completions::run(&options),
    };
    if output::is_pipe_closed() {
        return ExitCode::from(EXIT_SIGPIPE);
    }
    done.unwrap_or_else(|error| {
        output::hint(format_args!("platform-audit: {}", error_message(&error)));
        ExitCode::from(2)
    })
}

/// The exit status by which shells report that SIGPIPE ended a command.
const EXIT_SIGPIPE: u8 = 128 + 13;

/// The error with its causes. Stops at this project's own errors, whose messages are complete: the
/// driver's messages below them may quote data.
fn error_message(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        let driver = cause
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error);
        let message = match driver {
            Some(database) => database.message().to_owned(),
            None => cause.to_string(),
        };
        // Some messages include their cause.
        if !messages
            .last()
            .is_some_and(|before| before.ends_with(&message))
        {
            messages.push(message);
        }
        let is_ours = cause.is::<platform_audit::Error>()
            || cause.is::<ExportError>()
            || cause
                .downcast_ref::<SealError>()
                .is_some_and(|error| !matches!(error, SealError::File { .. }));
        if is_ours || driver.is_some() {
            break;
        }
    }
    messages.join(": ")
}
