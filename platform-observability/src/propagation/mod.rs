//! How context travels between services: W3C Trace Context Level 2 and W3C Baggage.
//!
//! The SDK's propagators read the first header of a name only, accept keys and values that the
//! grammar forbids, and log baggage that they cannot read. These do not.

mod baggage;
#[cfg(test)]
mod tests;
mod trace_context;

use http::{HeaderMap, HeaderName};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};

use self::baggage::BAGGAGE;
use self::trace_context::{TRACEPARENT, TRACESTATE};

/// The formats that a service speaks.
#[derive(Clone, Debug)]
pub(crate) struct Propagation {
    trace_context: bool,
    baggage: bool,
    fields: Vec<String>,
}

impl Propagation {
    pub(crate) fn new(trace_context: bool, baggage: bool) -> Self {
        let fields = [
            (trace_context, &TRACEPARENT),
            (trace_context, &TRACESTATE),
            (baggage, &BAGGAGE),
        ];
        let fields = fields.into_iter().filter(|(spoken, _)| *spoken);
        Self {
            trace_context,
            baggage,
            fields: fields.map(|(_, field)| field.to_string()).collect(),
        }
    }

    /// The caller's span, if the headers name one; without any copy of them.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<SpanContext> {
        if !self.trace_context {
            return None;
        }
        trace_context::read(texts(headers, &TRACEPARENT), || texts(headers, &TRACESTATE))
    }

    /// A context with the caller's baggage, if there is any.
    pub(crate) fn with_baggage(&self, headers: &HeaderMap) -> Context {
        let context = Context::new();
        if !self.baggage || !headers.contains_key(&BAGGAGE) {
            return context;
        }
        context.with_baggage(baggage::read(texts(headers, &BAGGAGE)))
    }
}

/// The values of a header; one that is not ASCII is `None`.
fn texts<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> impl Iterator<Item = Option<&'a str>> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| value.to_str().ok())
}

impl TextMapPropagator for Propagation {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        if self.trace_context {
            trace_context::write(context.span().span_context(), injector);
        }
        if self.baggage {
            baggage::write(context, injector);
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let texts = |name: &HeaderName| {
            let values = extractor.get_all(name.as_str()).unwrap_or_default();
            values.into_iter().map(Some)
        };
        let mut context = context.clone();
        if self.trace_context
            && let Some(caller) = trace_context::read(texts(&TRACEPARENT), || texts(&TRACESTATE))
        {
            context = context.with_remote_span_context(caller);
        }
        if self.baggage {
            let members = baggage::read(texts(&BAGGAGE));
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
