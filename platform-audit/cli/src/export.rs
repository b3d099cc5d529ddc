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

use crate::asking::{Asker, Filters};
use crate::interrupted::interrupted;
use crate::output::{self, Stdout, binary_to_terminal, counter};

/// Writes the records that meet all conditions into a file, oldest first, with a manifest beside it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit export --service accounting --since 2026-10-01 --until 2026-11-01 --format csv --out october.csv
  platform-audit export --service accounting --format parquet --out all.parquet
  platform-audit export --service accounting --resume --out all.parquet
  platform-audit export --service accounting --actor ada --format jsonl --out - | jq .action
  platform-audit verify-export october.csv --service accounting

The manifest, october.csv.manifest.json, says who asked which service's log for what, how many records
came, the first and the last of them, and the SHA-256 of the file; its own SHA-256 is in the record of the
export, with which verify-export compares it. Until the file is whole it is called october.csv.partial; an
export that broke off goes on from there with --resume.

Formats: json and jsonl (the records as stored), csv (safe to open in a spreadsheet), parquet (typed
columns), ocsf (OCSF 1.6 events, one a line), fhir (FHIR R5 AuditEvents, one a line).

Exit status: 0 something was found, 1 nothing was, 2 not done.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// json, jsonl, csv, parquet, ocsf or fhir
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// The file, which must not be there yet; - prints them, without a manifest
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on with the export to this file that broke off, as it was asked for
    #[arg(long, conflicts_with_all = ["Filters", "format"])]
    resume: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let records = if options.out.as_os_str() != "-" {
        write(&options).await?
    } else if options.resume {
        bail!("what was printed cannot be continued: --resume needs the file, --out FILE");
    } else {
        let query = options.query()?;
        let reading = options.asker.reading().await?;
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

/// Prints all records that `query` asks for, as they come.
pub(crate) async fn print(
    reading: &Reading<Any>,
    query: &AuditQuery,
    format: Format,
) -> anyhow::Result<u64> {
    if format == Format::Parquet {
        binary_to_terminal()?;
    }
    let mut export = reading.export(query, None).await?;
    let mut stop = interrupted()?;
    let printed = async {
        let mut encoder = Encoder::new(format, BufWriter::new(Stdout::new()))?;
        while let Some(records) = next_page(&mut export, &mut stop).await? {
            records.iter().try_for_each(|it| encoder.write(it))?;
        }
        anyhow::Ok(encoder.finish()?)
    }
    .await;
    let recorded = export.end(printed.is_ok()).await;
    printed?;
    Ok(recorded?)
}

/// The next page, unless somebody wants the command to end.
async fn next_page(
    export: &mut Export<Any>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<Option<Vec<AuditRecord>>> {
    tokio::select! {
        biased;
        () = stop => bail!("the export was interrupted: one into a file goes on with --resume"),
        page = export.next_page() => Ok(page?),
    }
}

async fn write(options: &Options) -> anyhow::Result<u64> {
    let path: &Path = &options.out;
    let reading = options.asker.reading().await?;
    let (mut file, query, cursor) = if options.resume {
        let (file, query, cursor) = ExportFile::resume(path, &reading.origin())?;
        (file, query, Some(cursor))
    } else {
        let query = options.query()?;
        let file = ExportFile::create(path, options.format, &query, reading.origin())?;
        (file, query, None)
    };
    let shown: ProgressBar = counter();
    shown.set_position(file.records());
    let mut export = reading.export(&query, cursor).await?;
    if !options.resume {
        file.settled(export.is_settled());
        if query.until.is_some_and(|until| until < Timestamp::now()) && !export.is_settled() {
            output::hint(
                "a transaction that was at work in this period has not ended (pg_stat_activity, backend_xid, of the whole server): what it records in it is not here, so export the period again once it has ended",
            );
        }
    }
    let mut stop = interrupted()?;
    let written = async {
        while let Some(records) = next_page(&mut export, &mut stop).await? {
            for record in &records {
                file.write(record)?;
                shown.inc(1);
            }
        }
        anyhow::Ok(file.finish()?)
    }
    .await;
    if let Ok(manifest) = &written {
        export.manifest(&manifest.own_sha256);
    }
    let recorded = export.end(written.is_ok()).await;
    let manifest = written?;
    recorded?;
    shown.finish_and_clear();
    output::hint(format_args!(
        "{} records, {} bytes in {}, SHA-256 {}",
        manifest.records,
        manifest.bytes,
        path.display(),
        manifest.sha256
    ));
    Ok(manifest.records)
}
