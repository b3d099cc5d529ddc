use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// [`tokio::spawn`] that propagates the current `tracing` span and OpenTelemetry context, baggage
/// included, into the task, so that its log records and spans have the request's trace id.
///
/// The request's own span does not wait for the task. A `tracing` span does: it ends, and is
/// exported, when the last of its tasks has ended.
///
/// # Panics
///
/// Outside a tokio runtime, like [`tokio::spawn`].
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // `with_context` is innermost, as the context may have been attached after the span was
    // entered.
    tokio::spawn(future.with_context(Context::current()).in_current_span())
}

#[cfg(test)]
mod tests {
    use opentelemetry::baggage::BaggageExt;
    use opentelemetry::trace::{TraceContextExt, TracerProvider};
    use opentelemetry::{Context, KeyValue};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing::{Metadata, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    #[tokio::test]
    async fn a_spawned_task_continues_the_callers_trace_and_baggage() {
        let spans = InMemorySpanExporter::default();
        let tracer = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        let traces = tracing_opentelemetry::layer().with_tracer(tracer.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(traces);
        let _scope = tracing::subscriber::set_default(subscriber);

        let task = info_span!("request").in_scope(|| {
            let baggage = [KeyValue::new("tenant", "blue")];
            let _attached = Context::current_with_baggage(baggage).attach();
            super::spawn(async {
                // Also after the first poll.
                tokio::task::yield_now().await;
                info_span!("child").in_scope(|| {});
                let context = Context::current();
                let tenant = context.baggage().get("tenant").map(ToString::to_string);
                let current = tracing::Span::current().metadata().map(Metadata::name);
                (context.span().span_context().trace_id(), tenant, current)
            })
        });
        let (trace_id, tenant, current) = task.await.unwrap();
        assert_eq!(current, Some("request"));

        let spans = spans.get_finished_spans().unwrap();
        let named = |name| spans.iter().find(|span| span.name == name).unwrap();
        let (request, child) = (named("request"), named("child"));
        assert_eq!(
            child.span_context.trace_id(),
            request.span_context.trace_id()
        );
        assert_eq!(child.parent_span_id, request.span_context.span_id());
        assert_eq!(trace_id, request.span_context.trace_id());
        assert_eq!(tenant.as_deref(), Some("blue"));
    }
}
