//! Builds the SQL of a query. Input only ever becomes a bind argument, never SQL text.

use jiff::Timestamp;

use crate::error::Error;

use super::cursor::{CursorPosition, KEY_LENGTH};
use super::{AuditQuery, Direction, SortBy};
use crate::record::Key;
use crate::store::Dialect;

/// The text columns that records can be sorted by, except the reason.
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

/// A statement being built, with the text of its bind arguments.
#[derive(Debug)]
pub(super) struct Statement {
    dialect: Dialect,
    pub(super) text: String,
    pub(super) arguments: Vec<String>,
}

impl Statement {
    /// Selects `columns` from the records of `schema`.
    pub(super) fn select(dialect: Dialect, schema: &str, columns: &str) -> Self {
        let records = dialect.sql().records(schema);
        Self::new(
            dialect,
            format!("SELECT {columns} FROM {records} AS record WHERE true"),
        )
    }

    /// A statement that does not select records.
    pub(super) fn new(dialect: Dialect, text: impl Into<String>) -> Self {
        Self {
            dialect,
            text: text.into(),
            arguments: Vec::new(),
        }
    }

    /// Selects the record with this `key`.
    pub(super) fn row(dialect: Dialect, schema: &str, key: &Key) -> Self {
        let mut statement = Self::select(dialect, schema, dialect.sql().row());
        let id = statement.argument(key.id.as_str(), "uuid");
        let recorded_at = statement.argument(key.recorded_at.as_str(), "timestamptz");
        statement.and(&format!(
            "record.id = {id} AND record.recorded_at = {recorded_at}"
        ));
        statement
    }

    /// The same statement, selecting each record's key (its identity and sort columns) instead of
    /// the whole record.
    pub(super) fn keys(&self) -> Self {
        let sql = self.dialect.sql();
        let whole = ["id", "xid", "recorded_at", "occurred_at", "status"];
        let whole = whole.map(|column| format!("'{column}', record.{column}"));
        let texts = KEY_TEXTS.map(|column| {
            let text = sql.as_text(&format!("record.{column}"));
            format!("'{column}', substr({text}, 1, {KEY_LENGTH})")
        });
        let members: Vec<_> = whole.into_iter().chain(texts).collect();
        let key = sql.json_object(&members.join(", "));
        Self {
            dialect: self.dialect,
            text: self.text.replacen(sql.row(), &key, 1),
            arguments: self.arguments.clone(),
        }
    }

    /// Adds a bind argument and returns its placeholder, cast to the Postgres type `kind`.
    pub(super) fn argument(&mut self, value: impl Into<String>, kind: &str) -> String {
        self.arguments.push(value.into());
        self.dialect.sql().argument(self.arguments.len(), kind)
    }

    /// Adds a bind argument to be compared with `recorded_at`.
    pub(super) fn time_argument(&mut self, time: Timestamp) -> String {
        self.argument(self.dialect.sql().time(time), "timestamptz")
    }

    pub(super) fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }

    /// Requires `column` to equal one of `values`, unless there are none.
    fn any(&mut self, column: &str, values: &[String]) {
        let arguments: Vec<String> = values.iter().map(|it| self.argument(it, "text")).collect();
        match arguments.as_slice() {
            [] => {}
            [argument] => self.and(&format!("record.{column} = {argument}")),
            several => self.and(&format!("record.{column} IN ({})", several.join(", "))),
        }
    }

    /// Adds the conditions of `query`.
    pub(super) fn conditions(&mut self, query: &AuditQuery) -> Result<(), Error> {
        query.check()?;
        if let Some(since) = query.since {
            let since = self.time_argument(since);
            self.and(&format!("record.recorded_at >= {since}"));
        }
        if let Some(until) = query.until {
            let until = self.time_argument(until);
            self.and(&format!("record.recorded_at < {until}"));
        }
        self.record_ids(query);
        let kinds = query.actor_kind.iter().map(|kind| {
            let word = serde_json::to_value(kind).unwrap_or_default();
            word.as_str().unwrap_or_default().to_owned()
        });
        self.any("actor_kind", &kinds.collect::<Vec<_>>());
        self.any("actor_id", &query.actor);
        self.any("actor_tenant", &query.tenant);
        self.any("resource_type", &query.resource_type);
        self.any("resource_id", &query.resource_id);
        self.any("service", &query.service);
        self.any("client_address", &query.client_address);
        self.any("method", &query.method);
        self.any("route", &query.route);
        self.request_or_trace(query);
        self.actions(&query.action);
        self.outcomes(query);
        self.changed_fields(query);
        if let Some(text) = &query.reason {
            let text = self.argument(text, "text");
            let part = format!("lower({text})");
            self.and(&self.dialect.sql().contains("lower(record.reason)", &part));
        }
        Ok(())
    }

    fn record_ids(&mut self, query: &AuditQuery) {
        let ids = query.record_id.iter();
        let ids: Vec<String> = ids
            .map(|id| self.argument(id.to_string(), "uuid"))
            .collect();
        if !ids.is_empty() {
            self.and(&format!("record.id IN ({})", ids.join(", ")));
        }
    }

    /// Request and trace ids. The leading column gets a range condition: see
    /// [`leading_column`](Self::leading_column).
    fn request_or_trace(&mut self, query: &AuditQuery) {
        let leading = self.leading_column(query).map(|(column, _)| column);
        for (column, values) in [
            ("request_id", &query.request_id),
            ("trace_id", &query.trace_id),
        ] {
            match values.as_slice() {
                [value] if leading == Some(column) => {
                    let argument = self.argument(value, "text");
                    self.and(&format!(
                        "record.{column} >= {argument} AND record.{column} <= {argument}"
                    ));
                }
                values => self.any(column, values),
            }
        }
    }

    /// Written as literals (the set is closed) so that the partial index of failures applies.
    fn outcomes(&mut self, query: &AuditQuery) {
        if query.outcome.is_empty() {
            return;
        }
        let words: Vec<_> = query
            .outcome
            .iter()
            .map(|outcome| format!("'{}'", outcome.as_str()))
            .collect();
        self.and(&format!("record.outcome IN ({})", words.join(", ")));
    }

    fn changed_fields(&mut self, query: &AuditQuery) {
        let fields = query.changed.iter();
        let fields: Vec<String> = fields.map(|it| self.argument(it, "text")).collect();
        if fields.is_empty() {
            return;
        }
        self.and(&self.dialect.sql().changes_any(&fields.join(", ")));
    }

    /// Requires the action to match one of `actions`; a trailing star makes it a prefix.
    fn actions(&mut self, actions: &[String]) {
        let (prefixes, exact): (Vec<_>, Vec<_>) = actions.iter().partition(|it| it.ends_with('*'));
        if prefixes.is_empty() {
            return self.any("action", actions);
        }
        let mut conditions = Vec::new();
        for prefix in prefixes.into_iter().filter_map(|it| it.strip_suffix('*')) {
            let prefix = self.argument(prefix, "text");
            conditions.push(self.dialect.sql().starts_with("record.action", &prefix));
        }
        for action in exact {
            let action = self.argument(action, "text");
            conditions.push(format!("record.action = {action}"));
        }
        self.and(&format!("({})", conditions.join(" OR ")));
    }

    /// Selects a page of records as JSON: from `position` in the order of `query`, or backwards
    /// from it; at most `limit`.
    pub(super) fn page(
        dialect: Dialect,
        schema: &str,
        query: &AuditQuery,
        position: Option<&CursorPosition>,
        limit: usize,
    ) -> Result<Self, Error> {
        let backwards = position.is_some_and(|position| position.before);
        let descending = (query.direction == Direction::Descending) != backwards;
        let mut page = Self::new(dialect, "");
        let mut parts = Vec::new();
        for part in query.split() {
            page.text = Self::select(dialect, schema, "record.*").text;
            page.conditions(&part)?;
            let key = page.key(&part);
            if let Some(position) = position {
                page.after_position(&part, position, descending);
            }
            let order = order(key.as_deref(), page.recorded_at(&part), descending);
            parts.push(format!("{} ORDER BY {order} LIMIT {limit}", page.text));
        }
        // The chosen records are converted to JSON in an outer query; in a single query, Postgres
        // may convert all candidates.
        let (chosen, order) = match <[String; 1]>::try_from(parts) {
            Ok([part]) => {
                let key = page.key(query);
                let order = order(key.as_deref(), page.recorded_at(query), descending);
                (part, order)
            }
            Err(parts) => {
                // Each part can contribute up to `limit` records.
                let order = order(None, RECORDED_AT, descending);
                let parts: Vec<_> = parts
                    .into_iter()
                    .map(|part| format!("SELECT * FROM ({part}) AS part"))
                    .collect();
                let parts = parts.join(" UNION ALL ");
                let chosen =
                    format!("SELECT * FROM ({parts}) AS record ORDER BY {order} LIMIT {limit}");
                (chosen, order)
            }
        };
        page.text = format!(
            "SELECT {} FROM ({chosen}) AS record ORDER BY {order}",
            dialect.sql().row()
        );
        Ok(page)
    }

    /// The sort column before the time, if any.
    fn key(&self, query: &AuditQuery) -> Option<String> {
        match self.leading_column(query) {
            Some((column, _)) => Some(format!("record.{column}")),
            None => self.sort_key(query.sort).map(|(expression, _)| expression),
        }
    }

    /// The time as a sort column. Where no index applies, unreadable timestamps are clamped to
    /// their stand-ins.
    fn recorded_at(&self, query: &AuditQuery) -> &'static str {
        let sorts_by_more =
            self.leading_column(query).is_none() && self.sort_key(query.sort).is_some();
        if sorts_by_more {
            self.dialect.sql().readable_recorded_at()
        } else {
            RECORDED_AT
        }
    }

    /// Restricts the result to records beyond `position`.
    fn after_position(&mut self, query: &AuditQuery, position: &CursorPosition, descending: bool) {
        let mut columns = Vec::new();
        let mut values = Vec::new();
        let leading = self.leading_column(query);
        let key = match leading {
            Some((column, value)) => Some((format!("record.{column}"), "text", value)),
            None => self
                .sort_key(query.sort)
                .map(|(expression, kind)| (expression, kind, &position.key)),
        };
        if let Some((expression, kind, value)) = key {
            columns.push(expression);
            values.push(self.argument(value, kind));
        }
        columns.extend([self.recorded_at(query), "record.id"].map(ToOwned::to_owned));
        values.push(self.time_argument(position.recorded_at));
        values.push(self.argument(position.id.to_string(), "uuid"));
        let operator = if descending { "<" } else { ">" };
        self.and(&format!(
            "({}) {operator} ({})",
            columns.join(", "),
            values.join(", ")
        ));
    }

    /// The column, and its value, whose index the records should be read by in time order: a single
    /// request id or trace id, if there are such indexes.
    ///
    /// With an equality condition, the planner may scan by time instead, because it does not know
    /// that these records were written close together. A range condition on the column, which is
    /// also the first sort column, prevents that.
    fn leading_column<'a>(&self, query: &'a AuditQuery) -> Option<(&'static str, &'a String)> {
        if !self.dialect.sql().indexes_requests() || query.sort != SortBy::RecordedAt {
            return None;
        }
        match (query.request_id.as_slice(), query.trace_id.as_slice()) {
            ([id], _) => Some(("request_id", id)),
            (_, [id]) => Some(("trace_id", id)),
            _ => None,
        }
    }

    /// The sort expression and the type of its arguments; `None` if the order is by time alone.
    fn sort_key(&self, sort: SortBy) -> Option<(String, &'static str)> {
        let sql = self.dialect.sql();
        let text = |column: &str| {
            let text = sql.as_text(&format!("record.{column}"));
            // A cursor contains only this prefix.
            let start = format!("substr(COALESCE({text}, ''), 1, {KEY_LENGTH})");
            Some((start, "text"))
        };
        match sort {
            SortBy::RecordedAt => None,
            SortBy::OccurredAt => {
                let (expression, kind) = sql.readable_occurred_at();
                Some((expression.to_owned(), kind))
            }
            // Negative values cannot be read and sort as missing.
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

const RECORDED_AT: &str = "record.recorded_at";

/// Sorts by `key`, if there is one, then by time and id.
fn order(key: Option<&str>, recorded_at: &str, descending: bool) -> String {
    let direction = if descending { "DESC" } else { "ASC" };
    let columns = key.into_iter().chain([recorded_at, "record.id"]);
    let columns: Vec<_> = columns.map(|it| format!("{it} {direction}")).collect();
    columns.join(", ")
}
