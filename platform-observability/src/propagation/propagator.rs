use std::iter;

use http::HeaderName;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::baggage::{self, BAGGAGE};
use super::headers::ContextHeaders;
use super::trace_context::{self, TRACEPARENT, TRACESTATE};

/// Propagates the formats that `OTEL_PROPAGATORS` selects.
#[derive(Clone, Debug)]
pub(crate) struct Propagator {
    trace_context: bool,
    baggage: bool,
    fields: Vec<String>,
}

impl Propagator {
    pub(crate) fn new(trace_context: bool, baggage: bool) -> Self {
        let fields = [
            (trace_context, &TRACEPARENT),
            (trace_context, &TRACESTATE),
            (baggage, &BAGGAGE),
        ];
        let fields = fields.into_iter().filter(|(is_enabled, _)| *is_enabled);
        Self {
            trace_context,
            baggage,
            fields: fields.map(|(_, field)| field.to_string()).collect(),
        }
    }

    /// The caller's span, without copying the headers as [`TextMapPropagator`] does.
    #[inline]
    pub(crate) fn remote_span(&self, headers: &ContextHeaders<'_>) -> Option<SpanContext> {
        if !self.trace_context {
            return None;
        }
        let traceparent = headers.traceparent?.as_bytes();
        if !headers.has_tracestate {
            return trace_context::parse(traceparent, iter::empty);
        }
        trace_context::parse(traceparent, || headers.values(&TRACESTATE))
    }

    /// A context with the caller's baggage.
    #[inline]
    pub(crate) fn context_with_baggage(&self, headers: &ContextHeaders<'_>) -> Context {
        let context = Context::new();
        if !self.baggage || !headers.has_baggage {
            return context;
        }
        context.with_baggage(baggage::parse(headers.values(&BAGGAGE)))
    }
}

/// Whether an existing `tracestate` must be removed before `propagator` injects `context`, as it
/// belongs to another span.
pub(crate) fn replaces_tracestate(propagator: &dyn TextMapPropagator, context: &Context) -> bool {
    context.span().span_context().is_valid()
        && propagator
            .fields()
            .any(|field| field == TRACESTATE.as_str())
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        if self.trace_context {
            trace_context::inject(context.span().span_context(), injector);
        }
        if self.baggage {
            baggage::inject(context, injector);
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let values = |name: &HeaderName| {
            let values = extractor.get_all(name.as_str()).unwrap_or_default();
            values.into_iter().map(Some)
        };
        let mut context = context.clone();
        let mut traceparents = values(&TRACEPARENT);
        if self.trace_context
            && let (Some(Some(only)), None) = (traceparents.next(), traceparents.next())
            && let Some(caller) = trace_context::parse(only.as_bytes(), || values(&TRACESTATE))
        {
            context = context.with_remote_span_context(caller);
        }
        if self.baggage {
            let members = baggage::parse(values(&BAGGAGE));
            if !members.is_empty() {
                context = context.with_baggage(members);
            }
        }
        context
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}
