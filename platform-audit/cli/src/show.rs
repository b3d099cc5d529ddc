use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use crate::output::{self, Format};
use crate::reader::ReaderOptions;

/// Shows one record in full
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit show 019355d0-7b1d-7e3a-9c55-0242ac120002 --service accounting   # from Audit-Record-Id

Exit status: 0 record found, 1 not found, 2 error.")]
pub(crate) struct Options {
    /// The record's id
    #[arg(value_name = "RECORD_ID")]
    id: Uuid,
    #[command(flatten)]
    reader: ReaderOptions,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let records = options.reader.reading().await?.find_all(options.id).await?;
    if records.is_empty() {
        output::hint(format_args!(
            "there is no record {}: if a client received this id with a 503, nothing was changed",
            options.id
        ));
        return Ok(ExitCode::from(1));
    }
    if records.len() > 1 {
        output::hint(format_args!(
            "{} records have this id, although ids should be unique: the first is the oldest, and the others were inserted by the service's database role, not by the toolkit",
            records.len()
        ));
    }
    match (options.format, &*records) {
        (Format::Table, records) => records.iter().try_for_each(output::record)?,
        (Format::Json, [record]) => output::json(record)?,
        (format, records) => output::records(records, format)?,
    }
    Ok(ExitCode::SUCCESS)
}
