//! Who asks, and of which records.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use platform_audit::explorer::Visitor;
use platform_audit::query::{self, AuditQuery, AuditReader, Reading};
use platform_audit::{Actor, ActorKind, Outcome};
use sqlx::Any;
use uuid::Uuid;

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

/// Which records. Conditions hold together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filters {
    /// From then on: how long ago, such as 7d or 12h, or a time, such as 2026-10-01 or 2026-10-01T08:00:00+02:00
    #[arg(long, value_name = "WHEN", value_parser = query::moment)]
    since: Option<Timestamp>,
    /// Before then
    #[arg(long, value_name = "WHEN", value_parser = query::moment)]
    until: Option<Timestamp>,
    /// By this actor
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// By actors of this kind: user, service, system or anonymous
    #[arg(long, value_name = "KIND", value_parser = kind)]
    actor_kind: Option<ActorKind>,
    /// This action, or with .* all that begin so, such as 'entry.*'
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Resources of this kind
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    /// This resource
    #[arg(long, value_name = "ID")]
    resource_id: Option<String>,
    /// With this outcome, or one of several, such as denied,failed; may be repeated
    #[arg(long, value_name = "WORD", value_delimiter = ',', value_parser = outcome)]
    outcome: Vec<Outcome>,
    /// In this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Written by this service, where several write into one audit schema
    #[arg(long, value_name = "NAME")]
    written_by: Option<String>,
    /// From this address
    #[arg(long, value_name = "ADDRESS")]
    client_address: Option<String>,
    /// With this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// On this route, such as '/entries/{id}'
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Of this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Of this trace
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// This record
    #[arg(long, value_name = "UUID")]
    record_id: Option<Uuid>,
    /// That changed this field
    #[arg(long, value_name = "FIELD")]
    changed: Option<String>,
    /// Whose reason contains this
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Filters {
    pub(crate) fn query(&self) -> AuditQuery {
        let mut query = AuditQuery::new();
        query.since = self.since;
        query.until = self.until;
        query.actor.clone_from(&self.actor);
        query.actor_kind = self.actor_kind;
        query.action.clone_from(&self.action);
        query.resource_type.clone_from(&self.resource_type);
        query.resource_id.clone_from(&self.resource_id);
        query.outcome.clone_from(&self.outcome);
        query.tenant.clone_from(&self.tenant);
        query.service.clone_from(&self.written_by);
        query.client_address.clone_from(&self.client_address);
        query.method.clone_from(&self.method);
        query.route.clone_from(&self.route);
        query.request_id.clone_from(&self.request_id);
        query.trace_id.clone_from(&self.trace_id);
        query.record_id = self.record_id;
        query.changed.clone_from(&self.changed);
        query.reason.clone_from(&self.reason);
        query
    }
}

/// A word of the query's, such as an outcome or an element to sort by.
pub(crate) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = serde_json::Value::from(text.replace('-', "_"));
    serde_json::from_value(word).map_err(|error| error.to_string())
}

fn outcome(text: &str) -> Result<Outcome, String> {
    word(text)
}

fn kind(text: &str) -> Result<ActorKind, String> {
    word(text)
}
