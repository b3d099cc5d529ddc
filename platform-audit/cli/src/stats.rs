use std::process::ExitCode;

use clap::Args;
use platform_audit::query::GroupBy;

use crate::output::{self, CountFormat as Format, escape_controls};
use crate::reader::{Filters, ReaderOptions, parse_name};

/// Counts records by action, actor, outcome, resource_type, month, week, day or hour
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit stats --service accounting --since 30d --by day
  platform-audit stats --service accounting --by actor --outcome denied

Exit status: 0 records found, 1 none found, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// Attribute to count by; may be repeated
    #[arg(long, value_name = "ATTRIBUTE", default_values = ["action", "actor", "outcome"], value_parser = parse_group)]
    by: Vec<GroupBy>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn parse_group(text: &str) -> Result<GroupBy, String> {
    parse_name(text)
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query()?;
    let reading = options.reader.reading().await?;
    let mut found = false;
    let mut document = serde_json::Map::new();
    for by in options.by {
        let counts = reading.summary(&query, by).await?;
        found |= !counts.is_empty();
        output::warn_if_truncated(&counts);
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
