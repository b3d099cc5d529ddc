use std::time::SystemTime;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_semantic_conventions::{attribute as attr, metric};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{self, Layer};

use super::config::Database;
use super::sanitize::DoubleQuotes;
use super::statement::Statement;
use crate::tracer::Tracer;

/// Turns sqlx's events into spans and durations. See [the module](super).
#[derive(Debug)]
pub(crate) struct StatementLayer {
    duration: Histogram<f64>,
    tracer: Option<Tracer>,
    /// The attributes of all statements.
    shared: Vec<KeyValue>,
    system: &'static str,
    /// Set if the text is recorded.
    text: Option<DoubleQuotes>,
}

impl StatementLayer {
    pub(crate) fn new(database: &Database, meter: &Meter, tracer: Option<Tracer>) -> Self {
        let duration = meter
            .f64_histogram(metric::DB_CLIENT_OPERATION_DURATION)
            .with_unit("s")
            .with_description("Duration of database client operations.")
            // The boundaries that the conventions advise for databases.
            .with_boundaries(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0])
            .build();
        let mut shared = vec![KeyValue::new(attr::DB_SYSTEM_NAME, database.system)];
        if let Some((address, port)) = &database.server {
            shared.push(KeyValue::new(attr::SERVER_ADDRESS, address.clone()));
            shared.push(KeyValue::new(attr::SERVER_PORT, i64::from(*port)));
        }
        if let Some(namespace) = &database.namespace {
            shared.push(KeyValue::new(attr::DB_NAMESPACE, namespace.clone()));
        }
        let double_quotes = match database.system {
            "postgresql" => DoubleQuotes::Names,
            _ => DoubleQuotes::NamesOrStrings,
        };
        Self {
            duration,
            tracer,
            shared,
            system: database.system,
            text: database.records_text.then_some(double_quotes),
        }
    }

    fn record(&self, statement: Statement, parent: &Context) {
        let Statement {
            summary,
            text,
            elapsed,
        } = statement;
        let mut attributes = Vec::with_capacity(self.shared.len() + 4);
        attributes.extend(self.shared.iter().cloned());
        if let Some(operation) = summary.operation {
            attributes.push(KeyValue::new(attr::DB_OPERATION_NAME, operation));
        }
        if let Some(table) = summary.table {
            attributes.push(KeyValue::new(attr::DB_COLLECTION_NAME, table));
        }
        let name = if summary.text.is_empty() {
            self.system.into()
        } else {
            attributes.push(KeyValue::new(attr::DB_QUERY_SUMMARY, summary.text.clone()));
            summary.text
        };
        self.duration.record(elapsed.as_secs_f64(), &attributes);
        let Some(tracer) = &self.tracer else {
            return;
        };
        // A span outside a sampled trace would not be exported, or not found.
        if !parent.span().span_context().is_sampled() {
            return;
        }
        attributes.extend(text.map(|text| KeyValue::new(attr::DB_QUERY_TEXT, text)));
        let ended = SystemTime::now();
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Client)
            .with_start_time(ended.checked_sub(elapsed).unwrap_or(ended))
            .with_attributes(attributes);
        let mut span = tracer.build_with_context(builder, parent);
        opentelemetry::trace::Span::end_with_timestamp(&mut span, ended);
    }
}

impl<S: Subscriber> Layer<S> for StatementLayer {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let parent = Context::current();
        // Recording the statements of an export would cause further exports.
        if parent.is_telemetry_suppressed() {
            return;
        }
        if let Some(statement) = Statement::from_event(event, self.text) {
            self.record(statement, &parent);
        }
    }
}
