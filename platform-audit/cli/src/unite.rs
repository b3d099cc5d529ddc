use std::process::ExitCode;

use clap::Args;
use platform_audit::query::create_union_view;

use crate::connection::Database;
use crate::output;

/// Creates one view, compliance.audit_records, over the audit logs of all services in the database
///
/// Run it again after adding a service. Postgres only.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit unite --database-url postgres://deploy@db/health --reader-role compliance

Exit status: 0 success, 1 there is no audit log, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    database: Database,
    /// The role of compliance staff: is granted read access to the view
    #[arg(long, value_name = "ROLE")]
    reader_role: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let pool = options.database.pool(None).await?;
    let schemas = create_union_view(&pool, options.reader_role.as_deref()).await?;
    if schemas.is_empty() {
        output::hint(
            "no schema of this database contains an audit log: create one with platform-audit migrate",
        );
        return Ok(ExitCode::from(1));
    }
    output::say(format_args!(
        "compliance.audit_records covers {}",
        schemas.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}
