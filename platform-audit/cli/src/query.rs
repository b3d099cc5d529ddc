use std::process::ExitCode;

use clap::Args;
use platform_audit::query::{Cursor, Direction, SortBy};

use crate::output::{self, Format};
use crate::reader::{Filters, ReaderOptions, parse_name};

/// Shows all matching records, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit query --service accounting --since 7d --outcome denied
  platform-audit query --service accounting --action 'entry.*' --actor ada --format jsonl
  platform-audit query --service accounting --action patient.read,patient.export --since 30d
  platform-audit query --service accounting --changed amount --sort actor --ascending

Exit status: 0 records found, 1 none found, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// Sort column: recorded_at, occurred_at, actor, action, resource_type, resource_id, outcome,
    /// status, tenant, service, client_address, method, route, request_id, trace_id or reason
    #[arg(long, value_name = "COLUMN", default_value = "recorded_at", value_parser = sort_column)]
    sort: SortBy,
    /// Sort in ascending order: oldest first, or A to Z
    #[arg(long)]
    ascending: bool,
    /// Maximum number of records, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continue after this cursor, which the previous page printed
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Print the total number of matching records, which scans them all
    #[arg(long)]
    count: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn sort_column(text: &str) -> Result<SortBy, String> {
    parse_name(text)
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let direction = if options.ascending {
        Direction::Ascending
    } else {
        Direction::Descending
    };
    let query = options
        .filters
        .query()?
        .sort(options.sort, direction)
        .limit(options.limit);
    let reading = options.reader.reading().await?;
    let page = reading.page(&query, options.after.as_ref()).await?;
    match options.format {
        Format::Json => output::json(&page)?,
        format => output::records(&page.records, format)?,
    }
    if options.count {
        output::hint(format_args!(
            "{} records in total",
            reading.count(&query).await?
        ));
    }
    if let Some(next) = &page.next
        && options.format != Format::Json
    {
        output::hint(format_args!("there are more: --after {next}"));
    }
    Ok(ExitCode::from(u8::from(page.records.is_empty())))
}
