//! How context travels between services: W3C Trace Context Level 2 and W3C Baggage.
//!
//! The SDK's propagators read the first header of a name only, accept keys and values that the
//! grammar forbids, and log baggage that they cannot read. These do not.

mod baggage;
#[cfg(test)]
mod tests;
mod trace_context;

use std::iter;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;

use self::baggage::BAGGAGE;
use self::trace_context::TRACEPARENT;
pub(crate) use self::trace_context::{Caller, TRACESTATE};

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
    #[inline]
    pub(crate) fn caller(&self, headers: &Headers<'_>) -> Option<Caller> {
        if !self.trace_context {
            return None;
        }
        let traceparent = headers.traceparent?.as_bytes();
        if !headers.tracestates {
            return trace_context::read(traceparent, iter::empty);
        }
        trace_context::read(traceparent, || texts(headers.all, &TRACESTATE))
    }

    /// A context with the caller's baggage, if there is any.
    #[inline]
    pub(crate) fn with_baggage(&self, headers: &Headers<'_>) -> Context {
        let context = Context::new();
        if !self.baggage || !headers.baggage {
            return context;
        }
        context.with_baggage(baggage::read(texts(headers.all, &BAGGAGE)))
    }
}

/// Where context may be in a request's headers.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    all: &'a HeaderMap,
    /// If it is the only one.
    traceparent: Option<&'a HeaderValue>,
    tracestates: bool,
    baggage: bool,
}

impl<'a> Headers<'a> {
    /// In one pass, which takes less than to look up each name, as that hashes it letter by
    /// letter. `other` sees the names that are not about context.
    #[inline]
    pub(crate) fn of(all: &'a HeaderMap, mut other: impl FnMut(&str, &'a HeaderValue)) -> Self {
        let (mut traceparent, mut traceparents) = (None, 0);
        let (mut tracestates, mut baggage) = (false, false);
        for (name, value) in all {
            match name.as_str() {
                "traceparent" => (traceparent, traceparents) = (Some(value), traceparents + 1),
                "tracestate" => tracestates = true,
                "baggage" => baggage = true,
                name => other(name, value),
            }
        }
        Self {
            all,
            traceparent: traceparent.filter(|_| traceparents == 1),
            tracestates,
            baggage,
        }
    }
}

/// Whether the `tracestate` that is there belongs to another span than the one of `context`, which
/// `propagator` writes in its place.
pub(crate) fn replaces_state(propagator: &dyn TextMapPropagator, context: &Context) -> bool {
    context.span().span_context().is_valid()
        && propagator
            .fields()
            .any(|field| field == TRACESTATE.as_str())
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
        let mut traceparents = texts(&TRACEPARENT);
        if self.trace_context
            && let (Some(Some(only)), None) = (traceparents.next(), traceparents.next())
            && let Some(caller) = trace_context::read(only.as_bytes(), || texts(&TRACESTATE))
        {
            context = context.with_remote_span_context(caller.into());
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
