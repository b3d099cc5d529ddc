//! A wrapper around the SDK's tracer that preserves the flags of the caller's trace. The SDK clears
//! them in a span that its sampler drops, but W3C Trace Context Level 2 requires propagating them.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, Status, TraceContextExt, TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

/// Creates all spans of the process: this crate's, those of `tracing`, and those of libraries that
/// use OpenTelemetry's global tracer provider.
#[derive(Clone, Debug)]
pub(crate) struct Tracer(SdkTracer);

/// A span of a [`Tracer`].
#[derive(Debug)]
pub(crate) struct Span {
    sdk: SdkSpan,
    /// Replaces the SDK's context in a span that is not recorded, whose flags the SDK has cleared.
    context: Option<Box<SpanContext>>,
}

impl Tracer {
    pub(crate) fn new(provider: &SdkTracerProvider, scope: &'static str) -> Self {
        Self(provider.tracer(scope))
    }
}

/// The process's global tracer provider.
#[derive(Debug)]
pub(crate) struct TracerProvider(pub(crate) SdkTracerProvider);

impl opentelemetry::trace::TracerProvider for TracerProvider {
    type Tracer = Tracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> Tracer {
        Tracer(self.0.tracer_with_scope(scope))
    }
}

impl opentelemetry::trace::Tracer for Tracer {
    type Span = Span;

    #[inline]
    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Span {
        let sdk = self.0.build_with_context(builder, parent);
        let (own, parent) = (sdk.span_context(), parent.span());
        // False for a root span, and after the SDK's shutdown, when the trace id is invalid.
        let continues_trace = own.trace_id() == parent.span_context().trace_id();
        let flags = parent.span_context().trace_flags().with_sampled(false);
        if sdk.is_recording() || !continues_trace || own.trace_flags() == flags {
            return Span { sdk, context: None };
        }
        let (trace_id, span_id) = (own.trace_id(), own.span_id());
        let state = own.trace_state().clone();
        let context = SpanContext::new(trace_id, span_id, flags, false, state);
        Span {
            context: Some(Box::new(context)),
            sdk,
        }
    }
}

impl opentelemetry::trace::Span for Span {
    fn add_event_with_timestamp<T>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) where
        T: Into<Cow<'static, str>>,
    {
        self.sdk
            .add_event_with_timestamp(name, timestamp, attributes);
    }

    #[inline]
    fn span_context(&self) -> &SpanContext {
        match &self.context {
            Some(context) => context,
            None => self.sdk.span_context(),
        }
    }

    #[inline]
    fn is_recording(&self) -> bool {
        self.sdk.is_recording()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.sdk.set_attribute(attribute);
    }

    fn set_status(&mut self, status: Status) {
        self.sdk.set_status(status);
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.sdk.update_name(new_name);
    }

    fn add_link(&mut self, context: SpanContext, attributes: Vec<KeyValue>) {
        self.sdk.add_link(context, attributes);
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        self.sdk.end_with_timestamp(timestamp);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{
        SpanId, TraceFlags, TraceId, TraceState, Tracer, TracerProvider as _,
    };
    use opentelemetry_sdk::trace::Sampler;

    use super::*;

    #[test]
    fn the_tracer_of_a_library_preserves_the_flags_of_the_callers_trace() {
        let provider = |sampler| SdkTracerProvider::builder().with_sampler(sampler).build();
        for (sampler, sampled) in [(Sampler::AlwaysOff, 0), (Sampler::AlwaysOn, 1)] {
            let tracer = TracerProvider(provider(sampler)).tracer("library");
            for flags in 0..4 {
                let (trace, span) = (TraceId::from(1), SpanId::from(1));
                let flags = TraceFlags::new(flags);
                let caller = SpanContext::new(trace, span, flags, true, TraceState::NONE);
                let parent = Context::new().with_remote_span_context(caller);
                let span = tracer.start_with_context("work", &parent);
                let own = span.span_context();
                assert_eq!(own.trace_id(), trace);
                assert_eq!(own.trace_flags().to_u8(), flags.to_u8() & 2 | sampled);
                assert_eq!(span.is_recording(), sampled == 1);
            }
            let alone = tracer.start_with_context("work", &Context::new());
            assert_eq!(alone.span_context().trace_flags().to_u8(), sampled);
        }
    }
}
