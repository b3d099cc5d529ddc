//! A small service for tests of telemetry. It is a separate process, because its set-up is global
//! and reads environment variables.
//!
//! It sends itself a few requests and prints the results as one line of JSON. Variables:
//!
//! - `PROBE_DEADLINE`: the shutdown timeout in milliseconds.
//! - `PROBE_END=drop`: drops the telemetry without a shutdown.
//! - `PROBE_SELF_TEST`: runs the self-test first.
//! - `PROBE_SPOOL`: the directory of a spool.
//! - `PROBE_FILTER`: the log filter after the requests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "support for tests"
)]

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use opentelemetry::trace::{
    Span, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use platform_audit::routing::{Router, get, post};
use platform_audit::{Actor, Audit, AuditTx, audited};
use platform_observability::{BuildInfo, Limits, PoolState, Spool, Telemetry};
use sqlx::{Sqlite, SqlitePool};

#[audited(action = "entry.create")]
async fn create(tx: &mut AuditTx<Sqlite>) -> StatusCode {
    tracing::info!(answer = 42, "inside the handler");
    tx.record("entry", 1);
    StatusCode::CREATED
}

/// Responds with the trace and span ids that are active in the handler.
async fn seen() -> String {
    let context = opentelemetry::Context::current();
    let span = context.span().span_context().clone();
    format!("{}-{}", span.trace_id(), span.span_id())
}

/// The trace flags of a span that a library starts below a caller with the flag `random`.
fn flags_of_a_library() -> u8 {
    let (trace, span, random) = (TraceId::from(1), SpanId::from(1), TraceFlags::new(2));
    let caller = SpanContext::new(trace, span, random, true, TraceState::NONE);
    let parent = opentelemetry::Context::new().with_remote_span_context(caller);
    let span = opentelemetry::global::tracer("library").start_with_context("work", &parent);
    span.span_context().trace_flags().to_u8()
}

async fn panics() {
    panic!("expected by the test");
}

async fn serve() -> serde_json::Value {
    let mut builder = Telemetry::builder("probe");
    if let Ok(deadline) = std::env::var("PROBE_DEADLINE") {
        builder = builder.shutdown_timeout(Duration::from_millis(deadline.parse().unwrap()));
    }
    if let Some(directory) = std::env::var_os("PROBE_SPOOL") {
        builder = builder.spool(Spool::new(directory));
    }
    let build = BuildInfo::new("1.2.3").first_revision([Some("0af7651")]);
    let limits = Limits::default().attribute_value_length(100);
    let builder = builder.build_info(build).environment("staging");
    let telemetry = match builder.limits(limits).init() {
        Ok(telemetry) => telemetry,
        Err(error) => return serde_json::json!({"init": error.to_string()}),
    };
    let second = Telemetry::init("probe")
        .err()
        .map(|error| error.to_string());

    let self_test = match std::env::var_os("PROBE_SELF_TEST") {
        Some(_) => telemetry.self_test().await.err(),
        None => None,
    };
    let self_test = self_test.map(|error| error.to_string());

    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("probe.db").display()
    );
    let pool = SqlitePool::connect(&url).await.unwrap();
    let observed = pool.clone();
    telemetry.observe_pool("ledger", move || {
        (!observed.is_closed()).then(|| PoolState {
            size: observed.size(),
            idle: observed.num_idle(),
            max: observed.options().get_max_connections(),
        })
    });
    let audit = Audit::builder(pool, "probe")
        .actor_from(|_: &axum::http::request::Parts| Some(Actor::user("ada")))
        .development(true)
        .start()
        .await
        .unwrap();
    let v1 = Router::new()
        .route("/entries/{id}", post(create))
        .route("/seen", get(seen))
        .route("/panic", get(panics));
    let app = Router::new()
        .nest("/v1", v1)
        .layer(audit.layer())
        .layer(telemetry.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let client = reqwest::Client::new();
    let created = client
        .post(format!("http://{address}/v1/entries/7?token=secret"))
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .send()
        .await
        .unwrap();
    let status = created.status().as_u16();
    let record = created.headers()["audit-record-id"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let record = audit.record(record).await.unwrap().unwrap();
    let seen = client
        .get(format!("http://{address}/v1/seen"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let panicked = client
        .get(format!("http://{address}/v1/panic"))
        .send()
        .await
        .is_ok_and(|response| response.status() == StatusCode::INTERNAL_SERVER_ERROR);

    if let Ok(filter) = std::env::var("PROBE_FILTER") {
        tracing::debug!("before the filter is changed");
        telemetry.log_filter().set(&filter).unwrap();
        tracing::debug!(long = "x".repeat(200), "after the filter is changed");
    }
    let flags = flags_of_a_library();
    let traces = telemetry.status().traces;

    let shutdown = if std::env::var_os("PROBE_END").is_some_and(|end| end == "drop") {
        drop(telemetry);
        None
    } else {
        telemetry.shutdown().await.err()
    };
    let shutdown = shutdown.map(|error| error.to_string());
    serde_json::json!({
        "init": null, "second": second, "status": status, "record": record, "seen": seen,
        "panicked": panicked, "shutdown": shutdown, "self_test": self_test,
        "flags": flags, "spans": traces.waiting + traces.spooled + traces.exported,
    })
}

/// On one thread, where a shutdown that waited for the runtime would deadlock.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("{}", serve().await);
}
