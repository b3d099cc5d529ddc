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
    let Some(record) = options.asker.reading().await?.find(options.id).await? else {
        output::hint(format_args!(
            "there is no record {}: if a client was sent this id with a 503, nothing was changed",
            options.id
        ));
        return Ok(ExitCode::from(1));
    };
    match options.format {
        Format::Table => output::record(&record)?,
        Format::Json => output::json(&record)?,
        format => output::records(&[record], format)?,
    }
    Ok(ExitCode::SUCCESS)
}
