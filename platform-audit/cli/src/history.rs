use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use platform_audit::AuditRecord;
use platform_audit::export::ExportError;
use platform_audit::query::{Direction, SortBy};

use crate::export;
use crate::output::{self, Format, Stdout, escape_controls};
use crate::reader::{self, ReaderOptions};

/// Shows the history of a resource, oldest first, with the values before and after each change
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit history entry 7 --service accounting

Exit status: 0 records found, 1 none found, 2 error.")]
pub(crate) struct Options {
    /// The resource type
    #[arg(value_name = "RESOURCE")]
    resource_type: String,
    /// The resource id, or several separated by commas
    #[arg(value_name = "ID")]
    resource_id: String,
    #[command(flatten)]
    reader: ReaderOptions,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let resource = [
        ("resource_type", options.resource_type.as_str()),
        ("resource_id", options.resource_id.as_str()),
    ];
    let query = reader::query(resource.into_iter())?;
    let query = query.sort(SortBy::RecordedAt, Direction::Ascending);
    let reading = options.reader.reading().await?;
    let found = match options.format.encoded() {
        Some(format) => export::print(&reading, &query, format).await?,
        None => {
            let mut ids = HashSet::new();
            let shown = |record: AuditRecord| {
                let (id, is_new) = (record.id, ids.insert(record.id));
                print(record)?;
                if !is_new {
                    output::hint(format_args!(
                        "the last record has the same id {id} as a record above, although ids should be unique: see platform-audit show {id}"
                    ));
                }
                Ok(())
            };
            reading.for_each::<ExportError>(&query, shown).await?
        }
    };
    Ok(ExitCode::from(u8::from(found == 0)))
}

fn print(record: AuditRecord) -> Result<(), ExportError> {
    let mut out = Stdout::new();
    let at = output::time(record.recorded_at.unwrap_or(record.occurred_at));
    let (actor, action) = (
        escape_controls(&record.actor.id),
        escape_controls(&record.action),
    );
    write!(out, "{at}  {actor}  {action}  {}", record.outcome.as_str())?;
    match &record.reason {
        Some(reason) => writeln!(out, "  ({})", escape_controls(reason))?,
        None => writeln!(out)?,
    }
    Ok(output::changes(&mut out, &record)?)
}
