use std::io::{BufWriter, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use platform_audit::export::{Encoder, ExportError, ExportFile, Format};
use platform_audit::query::{Direction, SortBy};

use crate::asking::{Asker, Filters};

/// Writes the records that meet all conditions into a file, oldest first, with a manifest beside it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit export --service accounting --since 2026-10-01 --until 2026-11-01 --format csv --out october.csv
  platform-audit export --service accounting --actor ada --format jsonl --out - | jq .action
  platform-audit verify-export october.csv

The manifest, october.csv.manifest.json, says what was asked, how many records came, the first and the
last of them, and the SHA-256 of the file.

Exit status: 0 something was found, 1 nothing was, 2 not done.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// json, jsonl or csv
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// The file, which must not be there yet; - prints them, without a manifest
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let reading = options.asker.reading().await?;
    let query = options
        .filters
        .query()
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let shows = std::io::stderr().is_terminal();
    let mut done = 0_u64;
    let mut progress = || {
        done += 1;
        if shows && done.is_multiple_of(10_000) {
            eprint!("\r{done} records");
        }
    };
    let records = if options.out.as_os_str() == "-" {
        let mut encoder = Encoder::new(options.format, BufWriter::new(std::io::stdout().lock()))?;
        let write = |record| encoder.write(&record);
        let records = reading.each::<ExportError>(&query, write).await?;
        encoder.finish()?;
        records
    } else {
        let mut file =
            ExportFile::create(&options.out, options.format, serde_json::to_value(&query)?)?;
        let write = |record| {
            progress();
            file.write(&record)
        };
        let records = reading.each::<ExportError>(&query, write).await?;
        let manifest = file.finish()?;
        let cleared = if shows { "\r" } else { "" };
        eprintln!(
            "{cleared}{records} records, {} bytes in {}, SHA-256 {}",
            manifest.bytes,
            options.out.display(),
            manifest.sha256
        );
        records
    };
    Ok(ExitCode::from(u8::from(records == 0)))
}
