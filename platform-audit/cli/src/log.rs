use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::connection::Target;
use crate::seal;

/// Continues the sealed log after the database was restored from a backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit log resume --service accounting --key accounting.key \\
      --publish /srv/audit-log --because 'restored after INC-7'

Exit status: 0 success, 2 error.")]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Appends the published entries that the database lost, and an entry that acknowledges it
    Resume {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        log: seal::Log,
        /// Why; it is part of the published log, so it must not contain personal data
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Command::Resume {
        target,
        log,
        because,
    } = options.command;
    let audit = target.open(None).await?;
    seal::say(&audit.resume(&log.seal()?, &because).await?)?;
    Ok(ExitCode::SUCCESS)
}
