use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use platform_audit::query::{MAX_VALUES, RecordedAction};
use serde::{Deserialize, Serialize};

use crate::output::{self, CountFormat as Format, escape_controls, time};
use crate::reader::{Filters, ReaderOptions};

/// Lists the recorded actions by route, and compares them with the routes that the service declares
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit catalogue --service accounting --since 90d
  platform-audit catalogue --service accounting --routes routes.json

routes.json is the catalogue of the service's router, in Rust:
  serde_json::to_string(&router.catalogue())

A handler may record actions other than its own (RecordBuilder::action): they count as listed on a
route whose own action was recorded.

Exit status: 0 every route with a recorded change is listed with its action, or --routes was not
given, 1 a route is not listed, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    #[command(flatten)]
    filters: Filters,
    /// The service's route catalogue, as JSON
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// An entry of `Router::catalogue`.
#[derive(Debug, Deserialize)]
struct Route {
    method: String,
    path: String,
    action: Option<String>,
    exempt: Option<String>,
}

/// A line of the output.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<jiff::Timestamp>,
    /// Why the route is exempt from auditing.
    #[serde(skip_serializing_if = "Option::is_none")]
    exempt: Option<String>,
    /// Whether the catalogue lists this action for its route, if a catalogue was given and the
    /// route changes state.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<bool>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let routes = options.routes.as_deref().map(read).transpose()?;
    let query = options.filters.query()?;
    let reading = options.reader.reading().await?;
    let recorded = reading.actions(&query).await?;
    let is_truncated = recorded.len() >= MAX_VALUES;
    if is_truncated {
        output::hint(format_args!(
            "only the first {MAX_VALUES} actions are shown, by name: there may be more, so narrow the list with --action"
        ));
    }
    let lines = compare(recorded, routes.as_deref());
    match options.format {
        Format::Table => print(&lines)?,
        Format::Json => output::json(&lines)?,
        Format::Jsonl => {
            for line in &lines {
                output::json_line(line)?;
            }
        }
    }
    let is_unlisted = lines.iter().any(|line| line.listed == Some(false));
    if is_truncated && !is_unlisted && routes.is_some() {
        bail!(
            "the actions that are not shown were not compared with the routes: narrow the list with --action"
        );
    }
    Ok(ExitCode::from(u8::from(is_unlisted)))
}

fn read(path: &Path) -> anyhow::Result<Vec<Route>> {
    let file = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{file} cannot be read"))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{file} is not a route catalogue: write serde_json::to_string(&router.catalogue()) to it")
    })
}

/// Recorded actions, followed by the routes without records.
fn compare(recorded: Vec<RecordedAction>, routes: Option<&[Route]>) -> Vec<Row> {
    let (with_records, without_records): (Vec<&Route>, Vec<&Route>) =
        routes.unwrap_or_default().iter().partition(|route| {
            recorded
                .iter()
                .any(|it| route.matches(it) && route.has_action_of(it))
        });
    let recorded = recorded.into_iter().map(|it| {
        // Safe methods change nothing, so they need not be listed.
        let is_change = !matches!(
            it.method.as_deref(),
            None | Some("GET" | "HEAD" | "OPTIONS")
        );
        let listed = routes
            .filter(|_| is_change && it.route.is_some())
            .map(|_| with_records.iter().any(|route| route.matches(&it)));
        Row {
            action: Some(it.action),
            method: it.method,
            route: it.route,
            records: it.records,
            last: Some(it.last),
            exempt: None,
            listed,
        }
    });
    let without_records = without_records.into_iter().map(|route| Row {
        action: route.action.clone(),
        method: Some(route.method.clone()),
        route: Some(route.path.clone()),
        records: 0,
        last: None,
        exempt: route.exempt.clone(),
        listed: Some(true),
    });
    recorded.chain(without_records).collect()
}

impl Route {
    fn matches(&self, recorded: &RecordedAction) -> bool {
        let method = recorded.method.as_deref();
        (self.method == "*" || method == Some(self.method.as_str()))
            && recorded.route.as_ref() == Some(&self.path)
    }

    fn has_action_of(&self, recorded: &RecordedAction) -> bool {
        self.action.as_ref() == Some(&recorded.action)
    }
}

fn print(lines: &[Row]) -> std::io::Result<()> {
    let mut table = output::table(&["action", "method", "route", "records", "last", ""]);
    for line in lines {
        let text = |text: &Option<String>| escape_controls(text.as_deref().unwrap_or_default());
        let note = match (&line.exempt, line.listed) {
            (Some(reason), _) => format!("exempt: {}", escape_controls(reason)),
            (None, Some(false)) => "NOT LISTED in the service's routes".to_owned(),
            (None, _) if line.records == 0 => "nothing recorded".to_owned(),
            (None, _) => String::new(),
        };
        table.add_row([
            text(&line.action),
            text(&line.method),
            text(&line.route),
            line.records.to_string(),
            line.last.map(time).unwrap_or_default(),
            note,
        ]);
    }
    output::say(table.trim_fmt())
}
