use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use platform_audit::query::Tail;
use sqlx::Any;

use crate::asking::{Asker, Filters};
use crate::interrupted::interrupted;
use crate::output::{self, Rows};

/// For how long one transaction may hold up the tail before it is said.
const STALLED: Duration = Duration::from_secs(60);

/// Follows the records as they are committed, until it is interrupted
///
/// No record is missed, however late its transaction commits, unless it was written more than a day
/// before the tail began; so one that stays open, anywhere on the server, holds up those after it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit tail --service accounting --outcome denied
  platform-audit tail --service accounting --format jsonl | jq .actor_id
  platform-audit tail --service accounting --format ocsf >> siem.jsonl

It has no period: what is there already is shown by platform-audit query --ascending.

Exit status: 0 interrupted, 2 it could not be asked.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// Seconds between two looks, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = every)]
    every: Duration,
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

fn every(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("write a number of seconds from 0.1 to 3600".to_owned())
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let query = options.filters.query()?;
    let reading = options.asker.reading().await?;
    let mut tail = reading.tail(&query).await?;
    let ended = follow(&mut tail, &options, interrupted()?).await;
    // Also of a tail that failed: what it told was seen.
    let recorded = tail.end().await;
    ended?;
    recorded?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(
    tail: &mut Tail<Any>,
    options: &Options,
    mut stop: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let mut rows = Rows::default();
    let (mut waiting_for, mut since, mut said) = (None, Instant::now(), false);
    loop {
        let tailed = tail.look().await?;
        if !tailed.records.is_empty() {
            match options.format {
                Format::Table => rows.print(&tailed.records)?,
                format => output::records(&tailed.records, format.of_records())?,
            }
        }
        if tailed.waiting_for != waiting_for {
            (waiting_for, since, said) = (tailed.waiting_for, Instant::now(), false);
        } else if let Some(transaction) = &waiting_for
            && since.elapsed() > STALLED
            && !said
        {
            output::hint(format_args!(
                "transaction {transaction} has not ended for {} s: either nobody has written since, or it is open, and records that were committed after it began wait for it (pg_stat_activity, backend_xid, of the whole server)",
                STALLED.as_secs()
            ));
            said = true;
        }
        let pause = match tailed.more {
            true => Duration::ZERO,
            false => options.every,
        };
        // Nowhere else, so that what was told is known.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
