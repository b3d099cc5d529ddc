//! Emits telemetry and shuts it down from the kind of runtime that its argument names. It prints
//! the result of the shutdown to standard output. `PROBE_DEADLINE` is the shutdown timeout in
//! milliseconds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "support for tests"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use platform_observability::Telemetry;
use tokio::runtime::{Builder, Runtime};

/// The number of spans, events and increments.
const ITEMS: u64 = 1000;

fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let result = match mode.as_str() {
        "current-thread" => current_thread().block_on(start_and_stop()),
        "one-worker" => one_worker().block_on(start_and_stop()),
        // On the only worker thread.
        "one-worker-task" => {
            let runtime = one_worker();
            runtime.block_on(async { tokio::spawn(start_and_stop()).await.unwrap() })
        }
        "nested" => one_worker().block_on(async {
            let telemetry = started();
            work();
            tokio::task::block_in_place(|| current_thread().block_on(stop(telemetry)))
        }),
        "nested-task" => one_worker().block_on(async {
            let nested = || current_thread().block_on(start_and_stop());
            tokio::task::spawn_blocking(nested).await.unwrap()
        }),
        // Started without a runtime, and shut down in a new one.
        "no-runtime" => {
            let telemetry = started();
            work();
            current_thread().block_on(stop(telemetry))
        }
        "after-panic" => {
            let telemetry = started();
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                current_thread().block_on(async {
                    work();
                    panic!("expected by the test");
                })
            }));
            assert!(panicked.is_err());
            current_thread().block_on(stop(telemetry))
        }
        // Dropped during unwinding, without a shutdown.
        "dropped-by-panic" => {
            let panicked = catch_unwind(|| {
                current_thread().block_on(async {
                    let _telemetry = started();
                    work();
                    panic!("expected by the test");
                })
            });
            assert!(panicked.is_err());
            "ok".to_owned()
        }
        other => panic!("unknown: {other}"),
    };
    println!("{result}");
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn one_worker() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn started() -> Telemetry {
    let mut builder = Telemetry::builder("probe");
    if let Ok(deadline) = std::env::var("PROBE_DEADLINE") {
        builder = builder.shutdown_timeout(Duration::from_millis(deadline.parse().unwrap()));
    }
    builder.init().unwrap()
}

/// Emits spans with an event each, and increments a counter.
fn work() {
    let meter = opentelemetry::global::meter("probe");
    let counter = meter.u64_counter("worked").build();
    for n in 0..ITEMS {
        tracing::info_span!("work", n).in_scope(|| tracing::info!("worked"));
        counter.add(1, &[]);
    }
}

async fn start_and_stop() -> String {
    let telemetry = started();
    work();
    stop(telemetry).await
}

async fn stop(telemetry: Telemetry) -> String {
    match telemetry.shutdown().await {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}
