//! Metrics of the process and of its tokio runtime.
//!
//! `process.*` follow OpenTelemetry's conventions, and are observed on Linux only. No convention
//! covers tokio's runtime; its metrics have the prefix `platform.tokio.`.

use std::time::Instant;

use opentelemetry::metrics::Meter;
use opentelemetry_semantic_conventions::metric;
use tokio::runtime::{Handle, RuntimeMetrics};

/// Observes the process, and the current tokio runtime, if there is one.
pub(crate) fn observe(meter: &Meter) {
    let started = Instant::now();
    meter
        .f64_observable_gauge(metric::PROCESS_UPTIME)
        .with_unit("s")
        .with_description("Time since telemetry was set up.")
        .with_callback(move |observer| observer.observe(started.elapsed().as_secs_f64(), &[]))
        .build();
    #[cfg(target_os = "linux")]
    linux::observe(meter);
    if let Ok(runtime) = Handle::try_current() {
        observe_runtime(meter, runtime.metrics());
    }
}

fn observe_runtime(meter: &Meter, runtime: RuntimeMetrics) {
    let gauge = |name: &'static str,
                 unit: &'static str,
                 description: &'static str,
                 read: fn(&RuntimeMetrics) -> usize| {
        let runtime = runtime.clone();
        meter
            .u64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| {
                observer.observe(u64::try_from(read(&runtime)).unwrap_or(u64::MAX), &[]);
            })
            .build();
    };
    gauge(
        "platform.tokio.workers",
        "{thread}",
        "Worker threads of the runtime.",
        RuntimeMetrics::num_workers,
    );
    gauge(
        "platform.tokio.tasks",
        "{task}",
        "Tasks that have not ended.",
        RuntimeMetrics::num_alive_tasks,
    );
    gauge(
        "platform.tokio.global_queue.depth",
        "{task}",
        "Tasks in the runtime's global queue.",
        RuntimeMetrics::global_queue_depth,
    );
    #[cfg(target_has_atomic = "64")]
    meter
        .f64_observable_counter("platform.tokio.busy_time")
        .with_unit("s")
        .with_description("Busy time, summed over all workers.")
        .with_callback(move |observer| {
            let workers = 0..runtime.num_workers();
            let busy = workers.map(|worker| runtime.worker_total_busy_duration(worker));
            let busy: std::time::Duration = busy.sum();
            observer.observe(busy.as_secs_f64(), &[]);
        })
        .build();
}

#[cfg(target_os = "linux")]
mod linux {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::Meter;
    use opentelemetry_semantic_conventions::{attribute::CPU_MODE, metric};
    use procfs::process::{Process, Stat};

    pub(super) fn observe(meter: &Meter) {
        // If /proc cannot be read, nothing is observed.
        let stat = || Process::myself().and_then(|process| process.stat()).ok();
        meter
            .f64_observable_counter(metric::PROCESS_CPU_TIME)
            .with_unit("s")
            .with_description("CPU time of the process.")
            .with_callback(move |observer| {
                if let Some(Stat { utime, stime, .. }) = stat() {
                    for (mode, ticks) in [("user", utime), ("system", stime)] {
                        observer.observe(seconds(ticks), &[KeyValue::new(CPU_MODE, mode)]);
                    }
                }
            })
            .build();
        let gauge = |name: &'static str,
                     unit: &'static str,
                     description: &'static str,
                     read: fn(&Process) -> Option<u64>| {
            meter
                .i64_observable_up_down_counter(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(move |observer| {
                    let value = Process::myself().ok().and_then(|process| read(&process));
                    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                        observer.observe(value, &[]);
                    }
                })
                .build();
        };
        gauge(
            metric::PROCESS_MEMORY_USAGE,
            "By",
            "Resident memory.",
            |process| Some(process.stat().ok()?.rss * procfs::page_size()),
        );
        gauge(
            metric::PROCESS_MEMORY_VIRTUAL,
            "By",
            "Virtual memory.",
            |process| Some(process.stat().ok()?.vsize),
        );
        gauge(
            metric::PROCESS_THREAD_COUNT,
            "{thread}",
            "Threads of the process.",
            |process| u64::try_from(process.stat().ok()?.num_threads).ok(),
        );
        gauge(
            metric::PROCESS_UNIX_FILE_DESCRIPTOR_COUNT,
            "{file_descriptor}",
            "Open file descriptors.",
            |process| u64::try_from(process.fd_count().ok()?).ok(),
        );
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "exact for the first million years"
    )]
    fn seconds(ticks: u64) -> f64 {
        ticks as f64 / procfs::ticks_per_second() as f64
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Capture;

    #[tokio::test]
    async fn the_process_and_the_runtime_are_observed() {
        let capture = Capture::start();
        super::observe(&capture.meter());
        let waiting = tokio::spawn(std::future::pending::<()>());
        let value = |name: &str| capture.point(name).sum;
        assert!(value("process.uptime") >= 0.0);
        assert_eq!(value("platform.tokio.workers"), 1.0);
        assert_eq!(value("platform.tokio.tasks"), 1.0);
        assert_eq!(value("platform.tokio.global_queue.depth"), 0.0);
        assert!(value("platform.tokio.busy_time") >= 0.0);
        if cfg!(target_os = "linux") {
            assert!(value("process.memory.usage") > 1e6);
            assert!(value("process.memory.virtual") > value("process.memory.usage"));
            assert!(value("process.thread.count") >= 1.0);
            assert!(value("process.unix.file_descriptor.count") >= 3.0);
            assert_eq!(capture.points("process.cpu.time").len(), 2);
        }
        waiting.abort();
    }
}
