use std::process::ExitCode;

use clap::Args;
use platform_audit::query::GroupBy;

use crate::output::{self, Format, escape_controls};
use crate::reader::{Filters, ReaderOptions};

/// Shows what an actor did: counts by action, and the latest records
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit actor ada --service accounting --since 30d

Exit status: 0 records found, 1 none found, 2 error.")]
pub(crate) struct Options {
    /// The actor's id, or several separated by commas
    #[arg(value_name = "ID", conflicts_with = "actor")]
    id: String,
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query_with(&[("actor", &options.id)])?;
    let reading = options.reader.reading().await?;
    let page = reading.page(&query, None).await?;
    if options.format == Format::Table {
        let counts = reading.summary(&query, GroupBy::Action).await?;
        let mut table = output::table(&["action", "records"]);
        for count in &counts {
            table.add_row([escape_controls(&count.value), count.records.to_string()]);
        }
        output::say(format_args!("{}\n", table.trim_fmt()))?;
        output::warn_if_truncated(&counts);
    }
    output::records(&page.records, options.format)?;
    if page.next.is_some() {
        output::hint("there are more: page through them with platform-audit query --actor");
    }
    Ok(ExitCode::from(u8::from(page.records.is_empty())))
}
