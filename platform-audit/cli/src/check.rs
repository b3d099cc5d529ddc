use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::connection::Target;
use crate::output;

/// Finds everything that would allow an unaudited change, or a change of a record
///
/// It does not read the records: `platform-audit verify` does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit check --service accounting --app-role accounting_app      # DATABASE_URL is set
  platform-audit check --service accounting --format json | jq '.findings[].remedy'
  platform-audit check --service accounting --explain

Exit status: 0 no findings, 1 findings, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The role that the service connects as; by default the connecting role
    #[arg(long, value_name = "ROLE")]
    app_role: Option<String>,
    /// A schema whose tables must all be guarded or exempt, instead of the current schema and the
    /// schema with the service's name; may be repeated
    #[arg(long, value_name = "SCHEMA")]
    tables_in: Vec<String>,
    /// The directory of the published log, which must not be ahead of the database or contradict it
    #[arg(long, value_name = "DIR")]
    tiles: Option<std::path::PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print which roles can still bypass auditing, and how that is detected
    #[arg(long)]
    explain: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut audit = options.target.open(None).await?;
    if let Some(role) = options.app_role {
        audit = audit.app_role(role);
    }
    if let Some(tiles) = options.tiles {
        audit = audit.published(tiles);
    }
    if options.explain {
        let explanation = audit.explain().await?;
        match options.format {
            Format::Text => output::say(explanation)?,
            Format::Json => output::json(&explanation)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = audit.tables_in(options.tables_in).check().await?;
    match options.format {
        Format::Json => output::json(&report)?,
        Format::Text if report.is_clean() => {
            output::say(format_args!("{}: nothing found", report.schema))?;
        }
        Format::Text => output::say(format_args!(
            "{}: {} found\n\n{report}",
            report.schema,
            report.findings.len()
        ))?,
    }
    if let Format::Text = options.format {
        for note in &report.notes {
            output::say(format_args!("note: {}", output::escape_controls(note)))?;
        }
    }
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}
