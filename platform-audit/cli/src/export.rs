use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use platform_audit::AuditRecord;
use platform_audit::export::{Encoder, ExportFile, Format};
use platform_audit::query::{AuditQuery, Direction, Export, Reading, SortBy};
use sqlx::Any;

use crate::output::{self, Stdout, counter, refuse_binary_on_terminal};
use crate::reader::{Filters, ReaderOptions};
use crate::signals::shutdown_signal;

/// Writes all matching records to a file, oldest first, with a manifest beside it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit export --service accounting --since 2026-10-01 --until 2026-11-01 --format csv --out october.csv
  platform-audit export --service accounting --format parquet --out all.parquet
  platform-audit export --service accounting --resume --out all.parquet
  platform-audit export --service accounting --actor ada --format jsonl --out - | jq .action
  platform-audit verify-export october.csv --service accounting

The manifest, october.csv.manifest.json, contains the query, the service and the reader, the number of
records, the first and last of them, and the SHA-256 of the file. The audit record of the export
contains the SHA-256 of the manifest, and verify-export compares it. Until the export is complete, its
file is called october.csv.partial; --resume continues an interrupted export from there.

Formats: json and jsonl (the records as stored), csv (safe to open in a spreadsheet), parquet (typed
columns), ocsf (OCSF 1.6 events, one per line), fhir (FHIR R5 AuditEvents, one per line).

Exit status: 0 records found, 1 none found, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// Output format: json, jsonl, csv, parquet, ocsf or fhir
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// The file, which must not exist; - writes to standard output, without a manifest
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Resume the interrupted export to this file, with its original query and format
    #[arg(long, conflicts_with_all = ["Filters", "format"])]
    resume: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let records = if options.out.as_os_str() != "-" {
        write(&options).await?
    } else if options.resume {
        bail!("an export to standard output cannot be resumed: --resume needs --out FILE");
    } else {
        let query = options.query()?;
        let reading = options.reader.reading().await?;
        print(&reading, &query, options.format).await?
    };
    Ok(ExitCode::from(u8::from(records == 0)))
}

impl Options {
    fn query(&self) -> anyhow::Result<AuditQuery> {
        let query = self.filters.query()?;
        Ok(query.sort(SortBy::RecordedAt, Direction::Ascending))
    }
}

/// Prints all records that match `query`, as they are read.
pub(crate) async fn print(
    reading: &Reading<Any>,
    query: &AuditQuery,
    format: Format,
) -> anyhow::Result<u64> {
    if format == Format::Parquet {
        refuse_binary_on_terminal()?;
    }
    let mut export = reading.export(query, None).await?;
    let mut stop = shutdown_signal()?;
    let printed = async {
        let mut encoder = Encoder::new(format, BufWriter::new(Stdout::new()))?;
        while let Some(records) = next_page(&mut export, &mut stop).await? {
            records.iter().try_for_each(|it| encoder.write(it))?;
        }
        anyhow::Ok(encoder.finish()?)
    }
    .await;
    let recorded = export.finish(printed.is_ok()).await;
    printed?;
    Ok(recorded?)
}

/// Returns the next page, or an error if the command was interrupted.
async fn next_page(
    export: &mut Export<Any>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<Option<Vec<AuditRecord>>> {
    tokio::select! {
        biased;
        () = stop => bail!("the export was interrupted: an export to a file can be continued with --resume"),
        page = export.next_page() => Ok(page?),
    }
}

async fn write(options: &Options) -> anyhow::Result<u64> {
    let path: &Path = &options.out;
    let reading = options.reader.reading().await?;
    let (mut file, query, cursor) = if options.resume {
        let (file, query, cursor) = ExportFile::resume(path, &reading.origin())?;
        (file, query, Some(cursor))
    } else {
        let query = options.query()?;
        let file = ExportFile::create(path, options.format, &query, reading.origin())?;
        (file, query, None)
    };
    let progress: ProgressBar = counter();
    progress.set_position(file.records());
    let mut export = reading.export(&query, cursor).await?;
    if !options.resume {
        file.set_settled(export.is_settled());
        if query.until.is_some_and(|until| until < Timestamp::now()) && !export.is_settled() {
            output::hint(
                "a transaction that was open in this period has not ended, so this export lacks its records: repeat the export once the transaction has ended (see backend_xid in pg_stat_activity, in every database of the server)",
            );
        }
    }
    let mut stop = shutdown_signal()?;
    let written = async {
        while let Some(records) = next_page(&mut export, &mut stop).await? {
            for record in &records {
                file.write(record)?;
                progress.inc(1);
            }
        }
        anyhow::Ok(file.finish()?)
    }
    .await;
    if let Ok(manifest) = &written {
        export.set_manifest_sha256(&manifest.own_sha256);
    }
    let recorded = export.finish(written.is_ok()).await;
    let manifest = written?;
    recorded?;
    progress.finish_and_clear();
    output::hint(format_args!(
        "{} records, {} bytes in {}, SHA-256 {}",
        manifest.records,
        manifest.bytes,
        path.display(),
        manifest.sha256
    ));
    Ok(manifest.records)
}
