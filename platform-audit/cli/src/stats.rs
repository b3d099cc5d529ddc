use std::process::ExitCode;

use clap::{Args, ValueEnum};
use platform_audit::query::GroupBy;

use crate::asking::{Asker, Filters, word};
use crate::output::{self, escape_controls};

/// Counts records by action, actor, outcome, resource_type, month, week, day or hour
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit stats --service accounting --since 30d --by day
  platform-audit stats --service accounting --by actor --outcome denied

Exit status: 0 something was found, 1 nothing was, 2 it could not be asked.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// By what; may be repeated
    #[arg(long, value_name = "ELEMENT", default_values = ["action", "actor", "outcome"], value_parser = group)]
    by: Vec<GroupBy>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How counts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// The same in one line
    Jsonl,
}

fn group(text: &str) -> Result<GroupBy, String> {
    word(text)
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query()?;
    let reading = options.asker.reading().await?;
    let mut found = false;
    let mut document = serde_json::Map::new();
    for by in options.by {
        let counts = reading.summary(&query, by).await?;
        found |= !counts.is_empty();
        output::all_or_not(&counts);
        let serde_json::Value::String(name) = serde_json::to_value(by)? else {
            continue;
        };
        if options.format == Format::Table {
            let mut table = output::table(&[name.as_str(), "records"]);
            for count in &counts {
                table.add_row([escape_controls(&count.value), count.records.to_string()]);
            }
            output::say(format_args!("{}\n", table.trim_fmt()))?;
        } else {
            document.insert(name, serde_json::to_value(counts)?);
        }
    }
    match options.format {
        Format::Table => {}
        Format::Json => output::json(&document)?,
        Format::Jsonl => output::json_line(&document)?,
    }
    Ok(ExitCode::from(u8::from(!found)))
}
