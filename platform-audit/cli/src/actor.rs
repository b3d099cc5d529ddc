use std::process::ExitCode;

use clap::Args;
use platform_audit::query::GroupBy;

use crate::asking::{Asker, Filters};
use crate::output::{self, Format, escape_controls};

/// Shows what an actor did: how much of what, and the latest
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit actor ada --service accounting --since 30d

Exit status: 0 something was found, 1 nothing was, 2 it could not be asked.")]
pub(crate) struct Options {
    /// The actor's id, or several with commas between
    #[arg(value_name = "ID", conflicts_with = "actor")]
    id: String,
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query_of(&[("actor", &options.id)])?;
    let reading = options.asker.reading().await?;
    let page = reading.page(&query, None).await?;
    if options.format == Format::Table {
        let counts = reading.summary(&query, GroupBy::Action).await?;
        let mut table = output::table(&["action", "records"]);
        for count in &counts {
            table.add_row([escape_controls(&count.value), count.records.to_string()]);
        }
        output::say(format_args!("{}\n", table.trim_fmt()))?;
        output::all_or_not(&counts);
    }
    output::records(&page.records, options.format)?;
    if page.next.is_some() {
        output::hint("there are more: platform-audit query --actor pages through them");
    }
    Ok(ExitCode::from(u8::from(page.records.is_empty())))
}
