//! What the span of a request says, which is OpenTelemetry's and not one of `tracing`.

use std::cell::RefCell;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::LONGEST;
use super::escape::escaped;
use crate::http::attributes::{ERROR_TYPE, REQUEST_METHOD, RESPONSE_STATUS_CODE};
use crate::telemetry::SCOPE;

thread_local! {
    /// The request whose span ended last on this thread: the layer ends the span, and then says
    /// that the request has ended.
    static LAST: RefCell<Option<Ended>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub(super) struct Ended {
    pub(super) trace: TraceId,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

/// The request of `trace` whose span has just ended on this thread, if it was recorded.
pub(super) fn take(trace: Option<TraceId>) -> Option<Ended> {
    let last = LAST.with(|last| last.try_borrow_mut().ok()?.take())?;
    trace.is_none_or(|it| it == last.trace).then_some(last)
}

/// Notes what the spans of requests say.
#[derive(Debug)]
pub(crate) struct RequestEnds;

impl SpanProcessor for RequestEnds {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_kind != SpanKind::Server || span.instrumentation_scope.name() != SCOPE {
            return;
        }
        let get = |key: &str| {
            let found = span.attributes.iter().find(|it| it.key.as_str() == key);
            found.map(|it| &it.value)
        };
        let text = |key: &str| get(key).map(|value| escaped(&value.as_str(), LONGEST));
        let status = match get(RESPONSE_STATUS_CODE) {
            Some(Value::I64(code)) => u16::try_from(*code).ok(),
            _ => None,
        };
        let ended = Ended {
            trace: span.span_context.trace_id(),
            method: text(REQUEST_METHOD).unwrap_or_default(),
            path: text("url.path").unwrap_or_default(),
            status,
            error: text(ERROR_TYPE),
        };
        // A thread that ends has no line to show any more.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = Some(ended);
            }
        });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
