use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use platform_audit::query;
use platform_audit::review::{Breach, Review, Verdict};

use crate::output::{self, escape_controls};
use crate::reader::ReaderOptions;

/// Runs the reviews of a file and compares the counts with their bounds, for a nightly job
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit review reviews.toml --service accounting --as nightly
  platform-audit review reviews.toml --service accounting --review erased-outside-office-hours --since 30d

In reviews.toml, each table is a review; its conditions are the filters of `query`, with underscores:
  [denied-service-accounts]
  description = \"No service account was denied access\"
  actor_kind = \"service\"
  outcome = \"denied\"
  since = \"1d\"
  at_most = 0                  # or at_least, or both

  [erased-outside-office-hours]
  action = \"entry.erase\"
  since = \"1d\"
  outside = { from = \"08:00\", until = \"18:00\", time_zone = \"Europe/Berlin\" }   # Monday to Friday
  at_most = 0

  [curious]
  action = \"patient.read\"
  since = \"1d\"
  per = \"actor\"                # or action, outcome, resource_type, month, week, day, hour
  at_most = 200

Exit status: 0 all reviews passed, 1 a review failed, 2 error.")]
pub(crate) struct Options {
    /// The file of reviews
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    reader: ReaderOptions,
    /// Only this review; may be repeated
    #[arg(long, value_name = "NAME")]
    review: Vec<String>,
    /// Start of the period for all reviews, instead of their own: a duration in the past, such as
    /// 7d, or a time
    #[arg(long, value_name = "WHEN", value_parser = query::parse_time)]
    since: Option<Timestamp>,
    /// End of the period for all reviews, instead of their own, exclusive
    #[arg(long, value_name = "WHEN", value_parser = query::parse_time)]
    until: Option<Timestamp>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let reviews = options.reviews()?;
    let reading = options.reader.reading().await?;
    let mut verdicts = Vec::new();
    for review in &reviews {
        let result = review.run(&reading).await;
        let verdict = result.with_context(|| format!("the review `{}`", review.name))?;
        match options.format {
            Format::Text => print(&verdict)?,
            Format::Json => {}
            Format::Jsonl => output::json_line(&verdict)?,
        }
        verdicts.push(verdict);
    }
    let failed = verdicts.iter().filter(|it| !it.passed).count();
    match options.format {
        Format::Text => output::say(format_args!("{} reviews, {failed} failed", verdicts.len()))?,
        Format::Json => output::json(&verdicts)?,
        Format::Jsonl => {}
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

impl Options {
    fn reviews(&self) -> anyhow::Result<Vec<Review>> {
        let file = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("{file} cannot be read"))?;
        let mut reviews = Review::parse_all(&text).with_context(|| file.to_string())?;
        for name in &self.review {
            if !reviews.iter().any(|review| review.name == *name) {
                let names: Vec<_> = reviews.iter().map(|it| it.name.as_str()).collect();
                bail!("{file} has no review `{name}`: it has {}", names.join(", "));
            }
        }
        reviews.retain(|it| self.review.is_empty() || self.review.contains(&it.name));
        for review in &mut reviews {
            review.query.since = self.since.or(review.query.since);
            review.query.until = self.until.or(review.query.until);
        }
        Ok(reviews)
    }
}

fn print(verdict: &Verdict) -> anyhow::Result<()> {
    let status = if verdict.passed { "ok    " } else { "FAILED" };
    let (name, found) = (escape_controls(&verdict.name), verdict.found);
    match &verdict.description {
        Some(description) => output::say(format_args!(
            "{status} {name}: {found} found ({})",
            escape_controls(description)
        ))?,
        None => output::say(format_args!("{status} {name}: {found} found"))?,
    }
    for breach in &verdict.breaches {
        let Breach {
            value, at_least, ..
        } = breach;
        let (found, listed) = (breach.found, breach.listed);
        let expected = match breach.at_most {
            Some(most) if found > most && listed < found => {
                format!("at most {most}; {listed} of {found} are listed")
            }
            Some(most) if found > most => format!("at most {most}"),
            _ => format!("at least {at_least}"),
        };
        match value {
            Some(value) => output::say(format_args!(
                "       {}: {found}, expected {expected}",
                escape_controls(value)
            ))?,
            None => output::say(format_args!("       expected {expected}"))?,
        }
    }
    if !verdict.records.is_empty() {
        output::records(&verdict.records, output::Format::Table)?;
    }
    Ok(())
}
