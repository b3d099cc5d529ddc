use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use crate::asking::Asker;
use crate::output::{self, Format};

/// Shows one record whole
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit show 019355d0-7b1d-7e3a-9c55-0242ac120002 --service accounting   # from Audit-Record-Id

Exit status: 0 it is there, 1 it is not, 2 it could not be asked.")]
pub(crate) struct Options {
    /// The record's id
    #[arg(value_name = "RECORD_ID")]
    id: Uuid,
    #[command(flatten)]
    asker: Asker,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let records = options.asker.reading().await?.records(options.id).await?;
    if records.is_empty() {
        output::hint(format_args!(
            "there is no record {}: if a client was sent this id with a 503, nothing was changed",
            options.id
        ));
        return Ok(ExitCode::from(1));
    }
    if records.len() > 1 {
        output::hint(format_args!(
            "{} records have this id, which should be one's own: the first is the oldest, and the service's role wrote the others by other means than the toolkit",
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
