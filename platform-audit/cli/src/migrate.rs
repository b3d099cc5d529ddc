use std::process::ExitCode;

use clap::Args;

use crate::connection::Target;
use crate::output;

/// Creates or updates the audit schema, and grants the roles their privileges
///
/// Run it before the service's own migrations, which call guard(), with the role that is to own the
/// schema. It can be repeated at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit migrate --database-url postgres://deploy@db/health --service accounting \\
      --owner-role accounting_owner --app-role accounting_app --reader-role compliance

Exit status: 0 success, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The role that owns the schema, preferably NOLOGIN; by default the connecting role
    #[arg(long, value_name = "ROLE")]
    owner_role: Option<String>,
    /// The role that the service connects as: is granted only what it needs to write records and
    /// read them back
    #[arg(long, value_name = "ROLE")]
    app_role: Option<String>,
    /// The role of compliance staff: is granted read access to the views
    #[arg(long, value_name = "ROLE")]
    reader_role: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let audit = options.target.open(options.owner_role.as_deref()).await?;
    audit.migrate().await?;
    output::say("the audit schema is up to date")?;
    audit
        .grant(options.app_role.as_deref(), options.reader_role.as_deref())
        .await?;
    for (role, privileges) in [
        (&options.app_role, "may write and read records"),
        (&options.reader_role, "may read the views"),
    ] {
        if let Some(role) = role {
            output::say(format_args!("the role {role} {privileges}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
