//! Flush and shutdown, bounded by a deadline and on threads of their own.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::deadline::Deadline;
use super::providers::Providers;
use super::stats::ExportStats;
use super::status::Status;
use super::thread::spawn;
use crate::error::Error;
use crate::signal::PerSignal;

type Task = Box<dyn FnOnce() -> OTelSdkResult + Send>;

impl Providers {
    pub(crate) fn status(&self) -> Status {
        PerSignal::from_fn(|signal| self.stats[signal].status())
    }

    /// Exports the queued telemetry. `done` is called once on another thread, after `timeout` at
    /// the latest, whatever the result.
    pub(crate) fn flush(
        self,
        timeout: Duration,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-flush", move || {
            let (tracer, meter, logger) = (self.tracer, self.meter, self.logger);
            let tasks = PerSignal {
                traces: tracer.map(|tracer| -> Task { Box::new(move || tracer.force_flush()) }),
                metrics: meter.map(|meter| -> Task { Box::new(move || meter.force_flush()) }),
                logs: logger.map(|logger| -> Task { Box::new(move || logger.force_flush()) }),
            };
            // The statistics contain the result.
            let _ = run_in_parallel(tasks, Deadline::after(timeout));
            done();
        })
    }

    /// Exports the queued telemetry, and stops. `done` is called once on another thread, after
    /// `timeout` at the latest.
    pub(crate) fn shut_down(
        self,
        timeout: Duration,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        spawn("telemetry-shutdown", move || {
            let deadline = Deadline::after(timeout);
            self.shutdown.set();
            let before = self.status();
            let (tracer, meter, logger) =
                (self.tracer.clone(), self.meter.clone(), self.logger.clone());
            let metric_stats = self.stats.metrics.clone();
            let tasks = PerSignal {
                traces: tracer.map(|tracer| -> Task {
                    Box::new(move || tracer.shutdown_with_timeout(timeout))
                }),
                metrics: meter.map(|meter| -> Task {
                    Box::new(move || shut_down_metrics(&meter, &metric_stats, timeout))
                }),
                logs: logger.map(|logger| -> Task {
                    Box::new(move || logger.shutdown_with_timeout(timeout))
                }),
            };
            let stopped = run_in_parallel(tasks, deadline);
            for spooler in &self.spoolers {
                // Requests that are not sent in time stay on disk.
                spooler.finish(deadline.remaining());
            }
            // The SDK's processors do not return their exporters' errors.
            done(stopped.and_then(|()| complete(lost(&before, &self.status()))));
        })
    }
}

/// Runs each signal's task on its own thread, so that an unresponsive endpoint does not use up the
/// time of the others.
fn run_in_parallel(tasks: PerSignal<Option<Task>>, deadline: Deadline) -> Result<(), Error> {
    let (sender, results) = mpsc::channel();
    for (signal, task) in tasks.into_entries() {
        if let Some(task) = task {
            let sender = sender.clone();
            spawn("telemetry-provider", move || {
                // After the deadline there is no receiver.
                let _ = sender.send((signal, task()));
            })?;
        }
    }
    drop(sender);
    let mut failures = Vec::new();
    loop {
        match results.recv_timeout(deadline.remaining()) {
            Ok((_, Ok(()))) => {}
            Ok((signal, Err(error))) => failures.push(format!("{signal}: {error}")),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let timeout = deadline.timeout;
                return Err(Error::ShutdownTimedOut { timeout });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    failures.sort();
    complete(joined(failures.into_iter()))
}

fn complete(failures: Option<String>) -> Result<(), Error> {
    failures.map_or(Ok(()), |failures| Err(Error::Shutdown { failures }))
}

/// Shuts metrics down, and waits for their last export. The SDK itself stops waiting after five
/// seconds, regardless of `timeout`, although the export may still succeed.
fn shut_down_metrics(
    provider: &SdkMeterProvider,
    stats: &ExportStats,
    timeout: Duration,
) -> OTelSdkResult {
    let deadline = Deadline::after(timeout);
    let stopped = provider.shutdown_with_timeout(timeout);
    if stopped.is_ok() || !stats.is_sending() {
        return stopped;
    }
    while stats.is_sending() && !deadline.remaining().is_zero() {
        thread::sleep(Duration::from_millis(20));
    }
    // The statistics contain the result.
    Ok(())
}

/// Describes the items that were lost between `before` and `after`.
pub(super) fn lost(before: &Status, after: &Status) -> Option<String> {
    let failures = after.iter().filter_map(|(signal, after)| {
        let before = &before[signal];
        let failed =
            (after.dropped_failed + after.rejected) - (before.dropped_failed + before.rejected);
        let no_room = after.dropped_queue_full - before.dropped_queue_full;
        let reason = match after.last_error.as_ref() {
            Some(error) => error.reason.as_str(),
            None if failed > 0 => "rejected",
            None => "the queue was full",
        };
        let lost = failed + no_room;
        (lost > 0).then(|| format!("{signal}: {lost} lost ({reason})"))
    });
    joined(failures)
}

/// Joins descriptions; `None` if there are none.
pub(super) fn joined(descriptions: impl Iterator<Item = String>) -> Option<String> {
    let descriptions: Vec<_> = descriptions.collect();
    (!descriptions.is_empty()).then(|| descriptions.join("; "))
}
