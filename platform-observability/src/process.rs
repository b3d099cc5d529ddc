//! What the process and its tokio runtime take, as metrics.
//!
//! `process.*` are OpenTelemetry's conventions, and read on Linux only. Of tokio's runtime there
//! is no convention; its metrics have the prefix `platform.tokio.`.

use std::time::Instant;

use opentelemetry::metrics::Meter;
use tokio::runtime::Handle;

/// Measures the process from now on, and the runtime that this is called in, if it is.
pub(crate) fn observe(meter: &Meter) {
    let started = Instant::now();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("The time since telemetry was set up.")
        .with_callback(move |observer| observer.observe(started.elapsed().as_secs_f64(), &[]))
        .build();
    #[cfg(target_os = "linux")]
    linux::observe(meter);
    if let Ok(runtime) = Handle::try_current() {
        observe_runtime(meter, runtime.metrics());
    }
}

fn observe_runtime(meter: &Meter, runtime: tokio::runtime::RuntimeMetrics) {
    let gauge = |name: &'static str,
                 unit: &'static str,
                 description: &'static str,
                 read: fn(&tokio::runtime::RuntimeMetrics) -> usize| {
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
        tokio::runtime::RuntimeMetrics::num_workers,
    );
    gauge(
        "platform.tokio.tasks",
        "{task}",
        "Tasks that were spawned and have not ended.",
        tokio::runtime::RuntimeMetrics::num_alive_tasks,
    );
    gauge(
        "platform.tokio.global_queue.depth",
        "{task}",
        "Tasks that are ready and that no worker has taken yet.",
        tokio::runtime::RuntimeMetrics::global_queue_depth,
    );
    #[cfg(target_has_atomic = "64")]
    meter
        .f64_observable_counter("platform.tokio.busy_time")
        .with_unit("s")
        .with_description("Time that the workers were busy, all together.")
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
    use procfs::process::{Process, Stat};

    pub(super) fn observe(meter: &Meter) {
        // Where /proc is not to be read, there is nothing to say.
        let stat = || Process::myself().and_then(|process| process.stat()).ok();
        meter
            .f64_observable_counter("process.cpu.time")
            .with_unit("s")
            .with_description("CPU time that the process took.")
            .with_callback(move |observer| {
                if let Some(Stat { utime, stime, .. }) = stat() {
                    for (mode, ticks) in [("user", utime), ("system", stime)] {
                        observer.observe(seconds(ticks), &[KeyValue::new("cpu.mode", mode)]);
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
            "process.memory.usage",
            "By",
            "Memory that is resident.",
            |process| Some(process.stat().ok()?.rss * procfs::page_size()),
        );
        gauge(
            "process.memory.virtual",
            "By",
            "Memory that is mapped.",
            |process| Some(process.stat().ok()?.vsize),
        );
        gauge(
            "process.thread.count",
            "{thread}",
            "Threads of the process.",
            |process| u64::try_from(process.stat().ok()?.num_threads).ok(),
        );
        gauge(
            "process.unix.file_descriptor.count",
            "{file_descriptor}",
            "File descriptors that are open.",
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
    async fn process_and_runtime_are_measured() {
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
