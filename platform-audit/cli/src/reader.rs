//! Command-line options that name the reader and select records.

use anyhow::Context;
use clap::Args;
use platform_audit::explorer::Visitor;
use platform_audit::query::{AuditQuery, AuditReader, Reading};
use platform_audit::{Actor, Error};
use sqlx::Any;

use crate::connection::Target;

/// The audit log and the actor who reads it. Every read is recorded.
#[derive(Debug, Args)]
pub(crate) struct ReaderOptions {
    #[command(flatten)]
    target: Target,
    /// The actor to record for this read; by default the current user
    #[arg(long = "as", value_name = "NAME", env = "AUDIT_READER")]
    name: Option<String>,
    /// The reason to record for this read
    #[arg(long, value_name = "TEXT", id = "because")]
    because: Option<String>,
}

impl ReaderOptions {
    pub(crate) fn new(target: Target, name: Option<String>, because: Option<String>) -> Self {
        Self {
            target,
            name,
            because,
        }
    }

    pub(crate) async fn reading(&self) -> anyhow::Result<Reading<Any>> {
        let actor = Actor::user(self.name()?);
        let reading = self.target.reader().await?.read_as(actor);
        Ok(match &self.because {
            Some(reason) => reading.with_reason(reason),
            None => reading,
        })
    }

    /// A reader for the explorer, which authenticates its visitors itself.
    pub(crate) async fn reader(&self) -> anyhow::Result<AuditReader<Any>> {
        self.target.reader().await
    }

    pub(crate) fn visitor(&self) -> anyhow::Result<Visitor> {
        let visitor = Visitor::new(Actor::user(self.name()?));
        Ok(match &self.because {
            Some(reason) => visitor.with_reason(reason),
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
        name.filter(|name| !name.is_empty()).context("the reading user is unknown, because this machine sets no user name: use --as NAME, or set AUDIT_READER")
    }
}

/// Filters. A record must match all of them; commas separate alternative values, and \, is a
/// literal comma.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filters {
    /// Start of the period: a duration in the past, such as 7d or 12h, or a time, such as
    /// 2026-10-01 or 2026-10-01T08:00:00+02:00
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// End of the period, exclusive
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Actor ids, such as ada,bob; may be repeated, like all filters that take several values
    #[arg(long, value_name = "ID")]
    actor: Vec<String>,
    /// Kinds of actor: user, service, system or anonymous
    #[arg(long, value_name = "KIND")]
    actor_kind: Vec<String>,
    /// Actions, such as patient.read,patient.export, or prefixes, such as 'entry.*'
    #[arg(long, value_name = "NAME")]
    action: Vec<String>,
    /// Resource types
    #[arg(long, value_name = "TYPE")]
    resource_type: Vec<String>,
    /// Resource ids
    #[arg(long, value_name = "ID")]
    resource_id: Vec<String>,
    /// Outcomes, such as denied,failed
    #[arg(long, value_name = "WORD")]
    outcome: Vec<String>,
    /// Tenants
    #[arg(long, value_name = "ID")]
    tenant: Vec<String>,
    /// Services that wrote the record, if several share an audit schema
    #[arg(long, value_name = "NAME")]
    written_by: Vec<String>,
    /// Client addresses
    #[arg(long, value_name = "ADDRESS")]
    client_address: Vec<String>,
    /// HTTP methods
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Route templates, such as '/entries/{id}'
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// Request ids
    #[arg(long, value_name = "ID")]
    request_id: Vec<String>,
    /// Trace ids
    #[arg(long, value_name = "ID")]
    trace_id: Vec<String>,
    /// Record ids
    #[arg(long, value_name = "UUID")]
    record_id: Vec<String>,
    /// Names of changed fields
    #[arg(long, value_name = "FIELD")]
    changed: Vec<String>,
    /// Substring of the reason, ignoring case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Filters {
    /// The query, with additional names and values.
    pub(crate) fn query_with(&self, more: &[(&str, &str)]) -> Result<AuditQuery, Error> {
        let with_underscores = |texts: &[String]| -> Vec<String> {
            texts.iter().map(|it| it.replace('-', "_")).collect()
        };
        let (kinds, outcomes) = (
            with_underscores(&self.actor_kind),
            with_underscores(&self.outcome),
        );
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
        self.query_with(&[])
    }
}

/// Parses names and values into a query. An empty value is an error: it usually comes from an unset
/// shell variable, and would match all records.
pub(crate) fn query<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<AuditQuery, Error> {
    let pairs: Vec<_> = pairs.collect();
    if let Some((name, _)) = pairs.iter().find(|(_, text)| text.is_empty()) {
        let what = format!("{name}: it is empty: leave it out, or give a value");
        return Err(Error::InvalidQuery(what));
    }
    AuditQuery::from_pairs(pairs)
}

/// Parses an identifier of the query, such as a sort column.
pub(crate) fn parse_name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = serde_json::Value::from(text.replace('-', "_"));
    serde_json::from_value(word).map_err(|error| error.to_string())
}
