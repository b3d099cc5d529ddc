use std::time::SystemTime;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{self, Layer};

use super::statement::QuotesNames;
use super::{Database, Statement};
use crate::tracer::Tracer;

/// Makes spans and points of what sqlx tells. See [the module](super).
#[derive(Debug)]
pub(crate) struct Statements {
    duration: Histogram<f64>,
    tracer: Option<Tracer>,
    /// What is the same for all.
    shared: Vec<KeyValue>,
    name: &'static str,
    text: Option<QuotesNames>,
}

impl Statements {
    pub(crate) fn new(database: &Database, meter: &Meter, tracer: Option<Tracer>) -> Self {
        let duration = meter
            .f64_histogram("db.client.operation.duration")
            .with_unit("s")
            .with_description("Duration of database client operations.")
            // The boundaries that the conventions advise.
            .with_boundaries(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0])
            .build();
        let mut shared = vec![KeyValue::new("db.system.name", database.system)];
        if let Some((address, port)) = &database.server {
            shared.push(KeyValue::new("server.address", address.clone()));
            shared.push(KeyValue::new("server.port", i64::from(*port)));
        }
        if let Some(namespace) = &database.namespace {
            shared.push(KeyValue::new("db.namespace", namespace.clone()));
        }
        let quotes_names = database.system == "postgresql";
        Self {
            duration,
            tracer,
            shared,
            name: database.system,
            text: database.records_text.then_some(QuotesNames(quotes_names)),
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
            attributes.push(KeyValue::new("db.operation.name", operation));
        }
        if let Some(table) = summary.table {
            attributes.push(KeyValue::new("db.collection.name", table));
        }
        let name = if summary.text.is_empty() {
            self.name.into()
        } else {
            attributes.push(KeyValue::new("db.query.summary", summary.text.clone()));
            summary.text
        };
        self.duration.record(elapsed.as_secs_f64(), &attributes);
        let Some(tracer) = &self.tracer else {
            return;
        };
        // Nobody would see it, or find it.
        if !parent.span().span_context().is_sampled() {
            return;
        }
        attributes.extend(text.map(|text| KeyValue::new("db.query.text", text)));
        let ended = SystemTime::now();
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Client)
            .with_start_time(ended.checked_sub(elapsed).unwrap_or(ended))
            .with_attributes(attributes);
        let mut span = tracer.build_with_context(builder, parent);
        opentelemetry::trace::Span::end_with_timestamp(&mut span, ended);
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let parent = Context::current();
        // What an export does is not told.
        if parent.is_telemetry_suppressed() {
            return;
        }
        if let Some(statement) = Statement::of(event, self.text) {
            self.record(statement, &parent);
        }
    }
}
