use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use crate::connection::Target;
use crate::output;

/// Prints the proof that the sealed log contains a record
///
/// The proof contains the record. Anybody can verify it with `platform-audit verify-proof` and the
/// verifier key, without a database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit prove 019355d0-7b1d-7e3a-9c55-0242ac120002 --service accounting \\
      --tiles /srv/audit-log > record.tlog-proof

Exit status: 0 success, 2 error.")]
pub(crate) struct Options {
    /// The record's id
    #[arg(value_name = "RECORD_ID")]
    id: Uuid,
    #[command(flatten)]
    target: Target,
    /// The directory of the published log; by default the database is used
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let audit = options.target.open(None).await?;
    let proof = audit.prove(options.id, options.tiles.as_deref()).await?;
    output::say(proof.to_string().trim_end_matches('\n'))?;
    Ok(ExitCode::SUCCESS)
}
