//! Who asks, and of which records.

use anyhow::Context;
use clap::Args;
use platform_audit::explorer::Visitor;
use platform_audit::query::{AuditQuery, AuditReader, Reading};
use platform_audit::{Actor, Error};
use sqlx::Any;

use crate::connection::Target;

/// Where to ask, and who does: each reading leaves a record.
#[derive(Debug, Args)]
pub(crate) struct Asker {
    #[command(flatten)]
    target: Target,
    /// Who reads, for the record of this reading; by default the user of this machine
    #[arg(long = "as", value_name = "NAME", env = "AUDIT_READER")]
    name: Option<String>,
    /// Why, for the same record
    #[arg(long, value_name = "TEXT", id = "because")]
    because: Option<String>,
}

impl Asker {
    pub(crate) fn new(target: Target, name: Option<String>, because: Option<String>) -> Self {
        Self {
            target,
            name,
            because,
        }
    }

    pub(crate) async fn reading(&self) -> anyhow::Result<Reading<Any>> {
        let actor = Actor::user(self.name()?);
        let reading = self.target.reader().await?.asked_by(actor);
        Ok(match &self.because {
            Some(reason) => reading.because(reason),
            None => reading,
        })
    }

    /// For a page that asks on behalf of who looks.
    pub(crate) async fn reader(&self) -> anyhow::Result<AuditReader<Any>> {
        self.target.reader().await
    }

    pub(crate) fn visitor(&self) -> anyhow::Result<Visitor> {
        let visitor = Visitor::new(Actor::user(self.name()?));
        Ok(match &self.because {
            Some(reason) => visitor.because(reason),
            None => visitor,
        })
    }

    fn name(&self) -> anyhow::Result<String> {
        let user = || {
            ["USER", "LOGNAME", "USERNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let name = self.name.clone().or_else(user);
        name.filter(|name| !name.is_empty()).context("nobody is known to read, as this machine names no user: write --as NAME, or set AUDIT_READER")
    }
}

/// Which records. Conditions hold together; commas separate values of which any will do, and \, is
/// a comma in a value.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filters {
    /// From then on: how long ago, such as 7d or 12h, or a time, such as 2026-10-01 or
    /// 2026-10-01T08:00:00+02:00
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before then
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// By this actor, or one of several, such as ada,bob; as all that take several, it may be
    /// repeated
    #[arg(long, value_name = "ID")]
    actor: Vec<String>,
    /// By actors of this kind: user, service, system or anonymous, or of one of several
    #[arg(long, value_name = "KIND")]
    actor_kind: Vec<String>,
    /// This action, with .* all that begin so, such as 'entry.*', or one of several, such as
    /// patient.read,patient.export
    #[arg(long, value_name = "NAME")]
    action: Vec<String>,
    /// Resources of this kind, or of one of several
    #[arg(long, value_name = "TYPE")]
    resource_type: Vec<String>,
    /// This resource, or one of several
    #[arg(long, value_name = "ID")]
    resource_id: Vec<String>,
    /// With this outcome, or one of several, such as denied,failed
    #[arg(long, value_name = "WORD")]
    outcome: Vec<String>,
    /// In this tenant, or one of several
    #[arg(long, value_name = "ID")]
    tenant: Vec<String>,
    /// Written by this service, or one of several, where several write into one audit schema
    #[arg(long, value_name = "NAME")]
    written_by: Vec<String>,
    /// From this address, or one of several
    #[arg(long, value_name = "ADDRESS")]
    client_address: Vec<String>,
    /// With this method, or one of several
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// On this route, such as '/entries/{id}', or one of several
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// Of this request, or one of several
    #[arg(long, value_name = "ID")]
    request_id: Vec<String>,
    /// Of this trace, or one of several
    #[arg(long, value_name = "ID")]
    trace_id: Vec<String>,
    /// This record, or one of several
    #[arg(long, value_name = "UUID")]
    record_id: Vec<String>,
    /// That changed this field, or one of several
    #[arg(long, value_name = "FIELD")]
    changed: Vec<String>,
    /// Whose reason contains this
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Filters {
    /// The query, also of these names and values.
    pub(crate) fn query_of(&self, more: &[(&str, &str)]) -> Result<AuditQuery, Error> {
        let words = |texts: &[String]| -> Vec<String> {
            texts.iter().map(|it| it.replace('-', "_")).collect()
        };
        let (kinds, outcomes) = (words(&self.actor_kind), words(&self.outcome));
        let lists = [
            ("actor", &self.actor),
            ("actor_kind", &kinds),
            ("action", &self.action),
            ("resource_type", &self.resource_type),
            ("resource_id", &self.resource_id),
            ("outcome", &outcomes),
            ("tenant", &self.tenant),
            ("written_by", &self.written_by),
            ("client_address", &self.client_address),
            ("method", &self.method),
            ("route", &self.route),
            ("request_id", &self.request_id),
            ("trace_id", &self.trace_id),
            ("record_id", &self.record_id),
            ("changed", &self.changed),
        ];
        let lists = lists
            .iter()
            .flat_map(|(name, texts)| texts.iter().map(|text| (*name, text.as_str())));
        let single = [
            ("since", &self.since),
            ("until", &self.until),
            ("reason", &self.reason),
        ];
        let single = single
            .iter()
            .filter_map(|(name, text)| Some((*name, text.as_deref()?)));
        query(lists.chain(single).chain(more.iter().copied()))
    }

    pub(crate) fn query(&self) -> Result<AuditQuery, Error> {
        self.query_of(&[])
    }
}

/// The query of these names and values. An empty one is refused, as of a variable of the shell that
/// is not set: it would ask for all.
pub(crate) fn query<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<AuditQuery, Error> {
    let pairs: Vec<_> = pairs.collect();
    if let Some((name, _)) = pairs.iter().find(|(_, text)| text.is_empty()) {
        let what = format!("{name}: it is empty: leave it out, or write a value");
        return Err(Error::InvalidQuery(what));
    }
    AuditQuery::from_pairs(pairs)
}

/// A word of the query's, such as an element to sort by.
pub(crate) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = serde_json::Value::from(text.replace('-', "_"));
    serde_json::from_value(word).map_err(|error| error.to_string())
}
