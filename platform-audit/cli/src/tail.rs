use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use platform_audit::query::Tail;
use sqlx::Any;

use crate::output::{self, Rows};
use crate::reader::{Filters, ReaderOptions};
use crate::signals::shutdown_signal;

/// How long a transaction may hold back records before a warning is printed.
const STALLED: Duration = Duration::from_secs(60);

/// Follows new records as they are committed, until it is interrupted
///
/// No record is missed, however late its transaction commits, unless it was written more than a day
/// before the tail started. A transaction that stays open anywhere on the server delays records
/// committed after it began.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit tail --service accounting --outcome denied
  platform-audit tail --service accounting --format jsonl | jq .actor_id
  platform-audit tail --service accounting --format ocsf >> siem.jsonl

There is no --since or --until: use platform-audit query --ascending for existing records.

Exit status: 0 interrupted, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// Poll interval in seconds, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    every: Duration,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// The output format of a stream of records.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// One JSON object per line
    #[value(alias = "json")]
    Jsonl,
    /// One OCSF event per line
    Ocsf,
    /// One FHIR R5 AuditEvent per line
    Fhir,
}

impl Format {
    fn for_records(self) -> output::Format {
        match self {
            Self::Table => output::Format::Table,
            Self::Jsonl => output::Format::Jsonl,
            Self::Ocsf => output::Format::Ocsf,
            Self::Fhir => output::Format::Fhir,
        }
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("use a number of seconds from 0.1 to 3600".to_owned())
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query()?;
    let reading = options.reader.reading().await?;
    let mut tail = reading.tail(&query).await?;
    let followed = follow(&mut tail, &options, shutdown_signal()?).await;
    // Recorded even after a failure: its records were delivered.
    let recorded = tail.finish().await;
    followed?;
    recorded?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(
    tail: &mut Tail<Any>,
    options: &Options,
    mut stop: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let mut rows = Rows::default();
    let (mut waiting_for, mut since, mut has_warned) = (None, Instant::now(), false);
    loop {
        let batch = tail.next_batch().await?;
        if !batch.records.is_empty() {
            match options.format {
                Format::Table => rows.print(&batch.records)?,
                format => output::records(&batch.records, format.for_records())?,
            }
        }
        if batch.waiting_for != waiting_for {
            (waiting_for, since, has_warned) = (batch.waiting_for, Instant::now(), false);
        } else if let Some(transaction) = &waiting_for
            && since.elapsed() > STALLED
            && !has_warned
        {
            output::hint(format_args!(
                "transaction {transaction} has not ended for {} s: either nothing has been written since, or it is still open and delays the delivery of records committed after it began: look for its backend_xid in pg_stat_activity, in every database of the server",
                STALLED.as_secs()
            ));
            has_warned = true;
        }
        let pause = match batch.more {
            true => Duration::ZERO,
            false => options.every,
        };
        // The only cancellation point, so that the number of delivered records is known.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
