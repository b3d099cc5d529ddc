use std::process::ExitCode;

use clap::Args;
use platform_audit::query::unite;

use crate::connection::Database;
use crate::output;

/// Makes one view, compliance.audit_records, over the audit logs of all services in the database
///
/// Run it again when a service has come. Postgres only.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit unite --database-url postgres://deploy@db/health --reader-role compliance

Exit status: 0 done, 1 there is no audit log to unite, 2 not done.")]
pub(crate) struct Options {
    #[command(flatten)]
    database: Database,
    /// The role of compliance: may read the view
    #[arg(long, value_name = "ROLE")]
    reader_role: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let pool = options.database.pool(None).await?;
    let schemas = unite(&pool, options.reader_role.as_deref()).await?;
    if schemas.is_empty() {
        output::hint(
            "no schema of this database holds an audit log: platform-audit migrate makes one",
        );
        return Ok(ExitCode::from(1));
    }
    output::say(format_args!(
        "compliance.audit_records unites {}",
        schemas.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}
