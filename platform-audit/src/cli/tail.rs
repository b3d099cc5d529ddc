use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::asking::{Asker, Filters};
use crate::output;

/// For how long one transaction may hold up the tail before it is said.
const STALLED: Duration = Duration::from_secs(60);

/// Follows the records as they are committed, until it is interrupted
///
/// No record is missed, however late its transaction commits; so one that stays open, anywhere on
/// the server, holds up those after it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit tail --service accounting --outcome denied
  platform-audit tail --service accounting --format jsonl | jq .actor_id
  platform-audit tail --service accounting --format ocsf >> siem.jsonl

Exit status: 0 interrupted, 2 it could not be asked.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// Seconds between two looks, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    every: f64,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How records are printed one after another.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object a line
    #[value(alias = "json")]
    Jsonl,
    /// One OCSF event a line
    Ocsf,
    /// One FHIR R5 AuditEvent a line
    Fhir,
}

impl Format {
    fn of_records(self) -> output::Format {
        match self {
            Self::Table => output::Format::Table,
            Self::Jsonl => output::Format::Jsonl,
            Self::Ocsf => output::Format::Ocsf,
            Self::Fhir => output::Format::Fhir,
        }
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let reading = options.asker.reading().await?;
    let mut tail = reading.tail(&options.filters.query()).await?;
    let every = Duration::from_secs_f64(options.every.clamp(0.1, 3600.0));
    let mut stopped = std::pin::pin!(tokio::signal::ctrl_c());
    let (mut waiting_for, mut since, mut said) = (None, Instant::now(), false);
    loop {
        let tailed = tail.look().await?;
        if !tailed.records.is_empty() {
            output::records(&tailed.records, options.format.of_records())?;
        }
        if tailed.waiting_for != waiting_for {
            (waiting_for, since, said) = (tailed.waiting_for, Instant::now(), false);
        } else if let Some(transaction) = &waiting_for
            && since.elapsed() > STALLED
            && !said
        {
            output::hint(format_args!(
                "nothing below transaction {transaction} has ended for {} s: either nobody writes, or one has been open since, and records that were committed after it wait for it (pg_stat_activity, backend_xid, of the whole server)",
                STALLED.as_secs()
            ));
            said = true;
        }
        tokio::select! {
            _ = &mut stopped => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(every) => {}
        }
    }
}
