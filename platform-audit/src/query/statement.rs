//! The SQL of a query: fixed words, and places for arguments. What comes from outside is only ever
//! an argument.

use jiff::Timestamp;

use crate::error::Error;

use super::cursor::{KEY_LENGTH, Place};
use super::{AuditQuery, Direction, SortBy};
use crate::record::{EARLIEST, Key, LATEST};
use crate::store::Dialect;

/// The texts that a record is sorted by, all but the reason.
const KEY_TEXTS: [&str; 13] = [
    "service",
    "actor_kind",
    "actor_id",
    "actor_tenant",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "request_id",
    "method",
    "route",
    "client_address",
    "trace_id",
];

/// A statement in the making, with the text of its arguments.
#[derive(Debug)]
pub(super) struct Statement {
    dialect: Dialect,
    pub(super) text: String,
    pub(super) arguments: Vec<String>,
}

impl Statement {
    /// Selects `columns` of the records of `schema`.
    pub(super) fn select(dialect: Dialect, schema: &str, columns: &str) -> Self {
        let records = dialect.records(schema);
        Self::of(
            dialect,
            format!("SELECT {columns} FROM {records} AS record WHERE true"),
        )
    }

    /// One that asks for something else than records.
    pub(super) fn of(dialect: Dialect, text: impl Into<String>) -> Self {
        Self {
            dialect,
            text: text.into(),
            arguments: Vec::new(),
        }
    }

    /// The record of `key`.
    pub(super) fn row(dialect: Dialect, schema: &str, key: &Key) -> Self {
        let mut statement = Self::select(dialect, schema, dialect.row());
        let id = statement.argument(key.id.as_str(), "uuid");
        let recorded_at = statement.argument(key.recorded_at.as_str(), "timestamptz");
        statement.and(&format!(
            "record.id = {id} AND record.recorded_at = {recorded_at}"
        ));
        statement
    }

    /// The same statement, which asks for the records' keys in place of the records: what identifies
    /// them, and what they are sorted by.
    pub(super) fn keys(&self) -> Self {
        let (object, cast) = match self.dialect {
            Dialect::Postgres => ("json_build_object", "::text"),
            Dialect::Sqlite => ("json_object", ""),
        };
        let whole = ["id", "xid", "recorded_at", "occurred_at", "status"];
        let whole = whole.map(|column| format!("'{column}', record.{column}"));
        let texts = KEY_TEXTS
            .map(|column| format!("'{column}', substr(record.{column}{cast}, 1, {KEY_LENGTH})"));
        let members: Vec<_> = whole.into_iter().chain(texts).collect();
        let key = format!("{object}({}){cast}", members.join(", "));
        Self {
            dialect: self.dialect,
            text: self.text.replacen(self.dialect.row(), &key, 1),
            arguments: self.arguments.clone(),
        }
    }

    /// How many there are, as text.
    pub(super) fn count(dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Postgres => "count(*)::text",
            Dialect::Sqlite => "CAST(count(*) AS TEXT)",
        }
    }

    /// A place for an argument of a type: of Postgres, as SQLite has the types of its values.
    pub(super) fn argument(&mut self, value: impl Into<String>, kind: &str) -> String {
        self.arguments.push(value.into());
        let at = self.arguments.len();
        match (self.dialect, kind) {
            (Dialect::Postgres, _) => format!("${at}::{kind}"),
            (Dialect::Sqlite, "int") => format!("CAST(${at} AS INTEGER)"),
            (Dialect::Sqlite, _) => format!("${at}"),
        }
    }

    /// A place for a moment, to be compared with `recorded_at`.
    pub(super) fn moment(&mut self, moment: Timestamp) -> String {
        let text = match self.dialect {
            Dialect::Postgres => moment.to_string(),
            Dialect::Sqlite => in_milliseconds(moment),
        };
        self.argument(text, "timestamptz")
    }

    pub(super) fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }

    fn equal(&mut self, column: &str, value: Option<&String>) {
        if let Some(value) = value {
            let argument = self.argument(value, "text");
            self.and(&format!("record.{column} = {argument}"));
        }
    }

    /// The conditions of `query`. A period that nothing can be in is refused: that nothing was found
    /// in it would be taken for an answer.
    pub(super) fn conditions(&mut self, query: &AuditQuery) -> Result<(), Error> {
        if let (Some(since), Some(until)) = (query.since, query.until)
            && since >= until
        {
            return Err(Error::InvalidQuery(format!(
                "nothing can be since {since} and before {until}: name a period that ends after it begins"
            )));
        }
        if let Some(since) = query.since {
            let since = self.moment(since);
            self.and(&format!("record.recorded_at >= {since}"));
        }
        if let Some(until) = query.until {
            let until = self.moment(until);
            self.and(&format!("record.recorded_at < {until}"));
        }
        if let Some(id) = query.record_id {
            let id = self.argument(id.to_string(), "uuid");
            self.and(&format!("record.id = {id}"));
        }
        if let Some(kind) = query.actor_kind {
            let word = serde_json::to_value(kind).unwrap_or_default();
            let kind = self.argument(word.as_str().unwrap_or_default(), "text");
            self.and(&format!("record.actor_kind = {kind}"));
        }
        self.equal("actor_id", query.actor.as_ref());
        self.equal("actor_tenant", query.tenant.as_ref());
        self.equal("resource_type", query.resource_type.as_ref());
        self.equal("resource_id", query.resource_id.as_ref());
        self.equal("service", query.service.as_ref());
        self.equal("client_address", query.client_address.as_ref());
        self.equal("method", query.method.as_ref());
        self.equal("route", query.route.as_ref());
        let leading = self.leading(query).map(|(column, _)| column);
        for (column, value) in [
            ("request_id", &query.request_id),
            ("trace_id", &query.trace_id),
        ] {
            match value {
                Some(value) if leading == Some(column) => {
                    let argument = self.argument(value, "text");
                    self.and(&format!(
                        "record.{column} >= {argument} AND record.{column} <= {argument}"
                    ));
                }
                value => self.equal(column, value.as_ref()),
            }
        }
        if let Some(action) = &query.action {
            if let Some(prefix) = action.strip_suffix('*') {
                let prefix = self.argument(prefix, "text");
                self.and(&match self.dialect {
                    Dialect::Postgres => format!("starts_with(record.action, {prefix})"),
                    Dialect::Sqlite => {
                        format!("substr(record.action, 1, length({prefix})) = {prefix}")
                    }
                });
            } else {
                self.equal("action", Some(action));
            }
        }
        if !query.outcome.is_empty() {
            // Words of a closed set, written out so that the index of failures can be used.
            let words: Vec<_> = query
                .outcome
                .iter()
                .map(|outcome| format!("'{}'", outcome.as_str()))
                .collect();
            self.and(&format!("record.outcome IN ({})", words.join(", ")));
        }
        if let Some(field) = &query.changed {
            let field = self.argument(field, "text");
            self.and(&match self.dialect {
                Dialect::Postgres => format!("jsonb_exists(record.changes, {field})"),
                Dialect::Sqlite => {
                    format!("EXISTS (SELECT 1 FROM json_each(record.changes) WHERE key = {field})")
                }
            });
        }
        if let Some(text) = &query.reason {
            let text = self.argument(text, "text");
            let position = match self.dialect {
                Dialect::Postgres => "strpos",
                Dialect::Sqlite => "instr",
            };
            self.and(&format!(
                "{position}(lower(record.reason), lower({text})) > 0"
            ));
        }
        Ok(())
    }

    /// The records as JSON: from `place` on, in the order of `query`, or backwards from it; at most
    /// `limit`.
    pub(super) fn page(&mut self, query: &AuditQuery, place: Option<&Place>, limit: usize) {
        let backwards = place.is_some_and(|place| place.before);
        let descending = (query.direction == Direction::Descending) != backwards;
        let key = match self.leading(query) {
            Some((column, _)) => Some((format!("record.{column}"), "text")),
            None => self.sort_key(query.sort),
        };
        // Without an index to use, times that cannot be read are compared as what stands in for them.
        let recorded_at = match (&key, self.dialect) {
            (Some((_, _)), Dialect::Postgres) if self.leading(query).is_none() => {
                format!("LEAST(GREATEST(record.recorded_at, '{EARLIEST}'), '{LATEST}')")
            }
            _ => "record.recorded_at".to_owned(),
        };
        let columns: Vec<&str> = key
            .as_ref()
            .map(|(expression, _)| expression.as_str())
            .into_iter()
            .chain([recorded_at.as_str(), "record.id"])
            .collect();
        if let Some(place) = place {
            let mut values = Vec::new();
            if let Some((_, kind)) = &key {
                let value = self.leading(query).map_or(&place.key, |(_, value)| value);
                values.push(self.argument(value, kind));
            }
            values.push(self.moment(place.recorded_at));
            values.push(self.argument(place.id.to_string(), "uuid"));
            let operator = if descending { "<" } else { ">" };
            self.and(&format!(
                "({}) {operator} ({})",
                columns.join(", "),
                values.join(", ")
            ));
        }
        let order = if descending { " DESC" } else { " ASC" };
        let order: Vec<_> = columns.iter().map(|it| format!("{it}{order}")).collect();
        let order = order.join(", ");
        // The records are made JSON of once they are chosen: in one go, Postgres may do it for all.
        self.text = format!(
            "SELECT {} FROM ({} ORDER BY {order} LIMIT {limit}) AS record ORDER BY {order}",
            self.dialect.row(),
            self.text
        );
    }

    /// The column by whose index records are to be read in the order of time, and its value: that
    /// of one request or trace. Asked for what equals it, Postgres may read by time instead, as it
    /// does not know that they were all written at once; so it is asked for a range that is sorted
    /// by the column, too.
    fn leading<'a>(&self, query: &'a AuditQuery) -> Option<(&'static str, &'a String)> {
        if self.dialect != Dialect::Postgres || query.sort != SortBy::RecordedAt {
            return None;
        }
        let request = query.request_id.as_ref().map(|id| ("request_id", id));
        request.or_else(|| query.trace_id.as_ref().map(|id| ("trace_id", id)))
    }

    /// What is compared, and the type of its arguments; `None` if that is the time alone.
    fn sort_key(&self, sort: SortBy) -> Option<(String, &'static str)> {
        let text = |column: &str| {
            let cast = match self.dialect {
                Dialect::Postgres => "::text",
                Dialect::Sqlite => "",
            };
            // A cursor holds no more of it.
            let start = format!("substr(COALESCE(record.{column}{cast}, ''), 1, {KEY_LENGTH})");
            Some((start, "text"))
        };
        match sort {
            SortBy::RecordedAt => None,
            SortBy::OccurredAt => match self.dialect {
                // In place of one that cannot be read, that of the record is shown.
                Dialect::Postgres => Some((
                    "CASE WHEN isfinite(record.occurred_at) THEN record.occurred_at ELSE record.recorded_at END".to_owned(),
                    "timestamptz",
                )),
                // Stored without its last zeros, which a comparison of texts needs.
                Dialect::Sqlite => Some((
                    "substr(record.occurred_at, 1, 19) || substr(rtrim(substr(record.occurred_at, 20), 'Z') || substr('.000000', max(1, length(record.occurred_at) - 19)), 1, 7) || 'Z'".to_owned(),
                    "text",
                )),
            },
            // A negative one cannot be read, and so has no place of its own.
            SortBy::Status => Some((
                "CASE WHEN record.status > 0 THEN record.status ELSE 0 END".to_owned(),
                "int",
            )),
            SortBy::Actor => text("actor_id"),
            SortBy::Action => text("action"),
            SortBy::ResourceType => text("resource_type"),
            SortBy::ResourceId => text("resource_id"),
            SortBy::Outcome => text("outcome"),
            SortBy::Tenant => text("actor_tenant"),
            SortBy::Service => text("service"),
            SortBy::ClientAddress => text("client_address"),
            SortBy::Method => text("method"),
            SortBy::Route => text("route"),
            SortBy::RequestId => text("request_id"),
            SortBy::TraceId => text("trace_id"),
            SortBy::Reason => text("reason"),
        }
    }
}

/// As SQLite stores `recorded_at`: in whole milliseconds, here rounded up, so that what is at or
/// after the moment stays so.
fn in_milliseconds(moment: Timestamp) -> String {
    let milliseconds = -(-moment.as_microsecond()).div_euclid(1000);
    let moment = Timestamp::from_millisecond(milliseconds).unwrap_or(moment);
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
