use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use platform_audit::query::{MOST_VALUES, RecordedAction};
use serde::{Deserialize, Serialize};

use crate::asking::{Asker, Filters};
use crate::output::{self, escape_controls, time};

/// Lists the actions that were recorded, by route; beside the routes that the service says it has
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit catalogue --service accounting --since 90d
  platform-audit catalogue --service accounting --routes routes.json

routes.json is what the service's router knows of itself, in Rust:
  serde_json::to_string(&router.catalogue())

A handler may record other actions beside its own (RecordBuilder::action): on a route whose own action was
recorded they count as listed.

Exit status: 0 each route on which a change was recorded is listed with its action, or no routes
were given, 1 one is not, 2 it could not be asked.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    #[command(flatten)]
    filters: Filters,
    /// The service's routes, as JSON
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
}

/// What `Router::catalogue` says of one method of one route.
#[derive(Debug, Deserialize)]
struct Route {
    method: String,
    path: String,
    action: Option<String>,
    exempt: Option<String>,
}

/// A line of the answer.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<jiff::Timestamp>,
    /// Why there need be no records.
    #[serde(skip_serializing_if = "Option::is_none")]
    exempt: Option<String>,
    /// Whether the routes say so, where they are known and it is a change of state on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<bool>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let routes = options.routes.as_deref().map(read).transpose()?;
    let query = options.filters.query()?;
    let reading = options.asker.reading().await?;
    let recorded = reading.actions(&query).await?;
    let is_cut = recorded.len() >= MOST_VALUES;
    if is_cut {
        output::hint(format_args!(
            "only the first {MOST_VALUES} actions are shown, in the order of their names: there may be more, so name some with --action"
        ));
    }
    let lines = beside(recorded, routes.as_deref());
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
    if is_cut && !is_unlisted && routes.is_some() {
        bail!("whether the others are listed was not looked at");
    }
    Ok(ExitCode::from(u8::from(is_unlisted)))
}

fn read(path: &Path) -> anyhow::Result<Vec<Route>> {
    let file = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{file} cannot be read"))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{file} is no catalogue of routes: write serde_json::to_string(&router.catalogue()) into it")
    })
}

/// What was recorded, and after it the routes of which nothing was.
fn beside(recorded: Vec<RecordedAction>, routes: Option<&[Route]>) -> Vec<Line> {
    let (heard, silent): (Vec<&Route>, Vec<&Route>) = routes
        .unwrap_or_default()
        .iter()
        .partition(|route| recorded.iter().any(|it| route.is_of(it) && route.says(it)));
    let recorded = recorded.into_iter().map(|it| {
        // A route that is read from changes nothing, so it need not be listed.
        let is_change = !matches!(
            it.method.as_deref(),
            None | Some("GET" | "HEAD" | "OPTIONS")
        );
        let listed = routes
            .filter(|_| is_change && it.route.is_some())
            .map(|_| heard.iter().any(|route| route.is_of(&it)));
        Line {
            action: Some(it.action),
            method: it.method,
            route: it.route,
            records: it.records,
            last: Some(it.last),
            exempt: None,
            listed,
        }
    });
    let silent = silent.into_iter().map(|route| Line {
        action: route.action.clone(),
        method: Some(route.method.clone()),
        route: Some(route.path.clone()),
        records: 0,
        last: None,
        exempt: route.exempt.clone(),
        listed: Some(true),
    });
    recorded.chain(silent).collect()
}

impl Route {
    fn is_of(&self, recorded: &RecordedAction) -> bool {
        let method = recorded.method.as_deref();
        (self.method == "*" || method == Some(self.method.as_str()))
            && recorded.route.as_ref() == Some(&self.path)
    }

    fn says(&self, recorded: &RecordedAction) -> bool {
        self.action.as_ref() == Some(&recorded.action)
    }
}

fn print(lines: &[Line]) -> std::io::Result<()> {
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
