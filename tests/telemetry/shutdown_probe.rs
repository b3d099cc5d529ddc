//! Makes telemetry and stops it, in a process of its own, from the runtime that its argument
//! names. What the shutdown said is one line on standard output; `PROBE_DEADLINE` gives it so many
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

/// How many spans and events there are.
const ITEMS: u64 = 1000;

fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let said = match mode.as_str() {
        "current-thread" => current_thread().block_on(start_and_stop()),
        "one-worker" => one_worker().block_on(start_and_stop()),
        // On the only worker itself.
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
        // Made where no runtime is, stopped in one that has nothing else.
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
                    panic!("as the test wants");
                })
            }));
            assert!(panicked.is_err());
            current_thread().block_on(stop(telemetry))
        }
        // Nobody calls shutdown: it is dropped as the stack unwinds.
        "dropped-by-panic" => {
            let panicked = catch_unwind(|| {
                current_thread().block_on(async {
                    let _telemetry = started();
                    work();
                    panic!("as the test wants");
                })
            });
            assert!(panicked.is_err());
            "ok".to_owned()
        }
        other => panic!("unknown: {other}"),
    };
    println!("{said}");
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

/// Spans, events in them, and a measurement.
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
