use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use platform_audit::query::Cursor;

use crate::asking::Asker;
use crate::output::{self, Format, inert};

/// Shows what happened to a resource, oldest first, each change with before and after
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit history entry 7 --service accounting

Exit status: 0 something was found, 1 nothing was, 2 it could not be asked.")]
pub(crate) struct Options {
    /// The kind of resource
    #[arg(value_name = "RESOURCE")]
    resource_type: String,
    /// Which one
    #[arg(value_name = "ID")]
    resource_id: String,
    #[command(flatten)]
    asker: Asker,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let reading = options.asker.reading().await?;
    let mut records = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = reading
            .history(
                &options.resource_type,
                &options.resource_id,
                cursor.as_ref(),
            )
            .await?;
        records.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let found = !records.is_empty();
    if options.format == Format::Table {
        let mut out = output::Stdout;
        for record in &records {
            let at = output::time(record.recorded_at.unwrap_or(record.occurred_at));
            let (actor, action) = (inert(&record.actor.id), inert(&record.action));
            write!(out, "{at}  {actor}  {action}  {}", record.outcome.as_str())?;
            match &record.reason {
                Some(reason) => writeln!(out, "  ({})", inert(reason))?,
                None => writeln!(out)?,
            }
            output::changes(&mut out, record)?;
        }
    } else {
        output::records(&records, options.format)?;
    }
    Ok(ExitCode::from(u8::from(!found)))
}
