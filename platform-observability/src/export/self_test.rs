//! The self-test: sends an item of each signal, and reports whether its endpoint accepted it.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};

use super::providers::Providers;
use super::shutdown::{joined, lost};
use super::status::{SignalStatus, Status};
use super::thread::spawn;
use crate::error::Error;
use crate::instrumentation::SCOPE;
use crate::signal::Signal;

/// How long to wait for spooled items to be sent.
const SPOOL_TIMEOUT: Duration = Duration::from_secs(30);

impl Providers {
    /// Sends an item of each signal from a new thread, which then calls `done` with the result.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn self_test(
        self,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-self-test", move || {
            let before = self.status();
            self.send_test_items();
            let after = self.wait_for_responses(&before);
            let failures = lost(&before, &after)
                .or_else(|| spooled(&after))
                .or_else(|| self.without_response(&before, &after));
            if failures.is_none() {
                tracing::info!(target: "platform_observability::export", "{}", self.success());
            }
            done(failures.map_or(Ok(()), |failures| Err(Error::SelfTest { failures })));
        })
    }

    /// Sends a span, a log record and the current metrics. The statistics contain the results.
    fn send_test_items(&self) {
        if let Some(queue) = &self.span_queue {
            queue.on_end(test_span());
            let _ = queue.force_flush();
        }
        if let Some(logger) = &self.logger {
            let scope = logger.logger(SCOPE);
            let mut record = scope.create_log_record();
            record.set_severity_number(Severity::Info);
            record.set_body("telemetry self-test".into());
            scope.emit(record);
            let _ = logger.force_flush();
        }
        if let Some(meter) = &self.meter {
            let _ = meter.force_flush();
        }
    }

    /// Waits until each endpoint has responded, and the spool is empty or its endpoint fails.
    fn wait_for_responses(&self, before: &Status) -> Status {
        let started = Instant::now();
        loop {
            let status = self.status();
            // The SDK's flush may return before the export ends.
            let is_sending_spooled = status
                .iter()
                .any(|(_, signal)| signal.spooled > 0 && signal.last_error.is_none());
            let is_complete =
                !is_sending_spooled && self.without_response(before, &status).is_none();
            // A busy service never empties its spool.
            if is_complete || started.elapsed() > SPOOL_TIMEOUT {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Describes the signals whose endpoints did not respond between `before` and `after`.
    fn without_response(&self, before: &Status, after: &Status) -> Option<String> {
        let missing = self.urls.iter().filter_map(|(signal, url)| {
            url.as_ref()?;
            let (before, after) = (&before[signal], &after[signal]);
            let settled = |status: &SignalStatus| {
                let dropped = status.dropped_failed + status.dropped_queue_full;
                status.exported + status.rejected + dropped + status.spooled
            };
            let reason = after.last_error.as_ref().map(|error| error.reason.as_str());
            // A service without instruments has no metrics to send.
            let is_expected = signal != Signal::Metrics || reason.is_some();
            (is_expected && settled(after) == settled(before))
                .then(|| format!("{signal}: {}", reason.unwrap_or("no response yet")))
        });
        joined(missing)
    }

    fn success(&self) -> String {
        let endpoints = self.urls.iter();
        let endpoints = endpoints
            .filter_map(|(signal, url)| Some(format!("{signal} at {}", url.as_ref()?)))
            .collect::<Vec<_>>();
        match endpoints.is_empty() {
            true => "telemetry is exported to no endpoint, so nothing was tested".to_owned(),
            false => format!("telemetry is accepted: {}", endpoints.join(", ")),
        }
    }
}

/// Describes the items that remain on disk because of an endpoint's error.
fn spooled(status: &Status) -> Option<String> {
    joined(status.iter().filter_map(|(signal, status)| {
        let reason = &status.last_error.as_ref()?.reason;
        (status.spooled > 0).then(|| {
            format!(
                "{signal}: {} not sent yet, kept on disk ({reason})",
                status.spooled
            )
        })
    }))
}

/// A span that bypasses the sampler, which might drop it.
fn test_span() -> SpanData {
    let now = SystemTime::now();
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(fastrand::u128(1..)),
            SpanId::from(fastrand::u64(1..)),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "telemetry.self_test".into(),
        start_time: now,
        end_time: now,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: SpanStatus::Unset,
        instrumentation_scope: InstrumentationScope::builder(SCOPE).build(),
    }
}
