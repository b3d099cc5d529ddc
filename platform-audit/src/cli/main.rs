//! `platform-audit`: sets the audit schema up, and checks that the database holds the promise.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to whoever called it"
)]

mod check;
mod connection;
mod migrate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The audit log of a service: sets it up, and checks that the database holds its promise.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(migrate::Options),
    Check(check::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Migrate(options) => migrate::run(options).await,
        Command::Check(options) => check::run(options).await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("platform-audit: {error:#}");
        ExitCode::from(2)
    })
}
