use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use opentelemetry::metrics::{MeterProvider, NoopMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Instrument};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::clock::Clock;
use super::limits::{MAX_BYTES, MAX_ENTRIES};
use super::{ConsoleLayer, is_audit_event};
use crate::database::is_statement;
use crate::http::{HttpLayer, SamplingHint};
use crate::instrumentation::SCOPE;
use crate::propagation::Propagator;
use crate::tracer::Tracer;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A console whose output is captured, and whose clock starts at 14:03:07 and is set manually.
#[derive(Clone)]
struct Screen {
    written: Arc<Mutex<Vec<String>>>,
    micros: Arc<AtomicU64>,
    layer: HttpLayer,
    dispatch: Dispatch,
}

impl Screen {
    fn new() -> Self {
        Self::with(false, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    fn with(coloured: bool, sampler: Sampler) -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let micros = Arc::new(AtomicU64::new(0));
        let time = Arc::clone(&micros);
        let clock: Clock = Arc::new(move || {
            Duration::from_secs(14 * 3600 + 3 * 60 + 7)
                + Duration::from_micros(time.load(Ordering::SeqCst))
        });
        let writes = Arc::clone(&written);
        let console = ConsoleLayer::with_writer(coloured, clock, move |text| {
            writes.lock().unwrap().push(text.to_owned());
        });
        let filter = EnvFilter::new("info").or(filter_fn(|metadata| {
            is_audit_event(metadata) || is_statement(metadata)
        }));
        let tracer = SdkTracerProvider::builder().with_sampler(sampler).build();
        let layer = HttpLayer::new(
            &NoopMeterProvider::new().meter("test"),
            Some(Tracer::new(&tracer, SCOPE)),
            Propagator::new(true, true),
            SamplingHint::default(),
            true,
        );
        let registry = tracing_subscriber::registry();
        let dispatch = Dispatch::new(registry.with(console.with_filter(filter)));
        Self {
            written,
            micros,
            layer,
            dispatch,
        }
    }

    fn advance(&self, micros: u64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }

    fn text(&self) -> String {
        self.written.lock().unwrap().concat()
    }

    /// Sends a request to `router`, and reads the whole response.
    async fn send(&self, router: Router, method: &str, path: &str) -> StatusCode {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("traceparent", TRACEPARENT)
            .body(Body::empty())
            .unwrap();
        let router = router.layer(self.layer.clone());
        async {
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            axum::body::to_bytes(response.into_body(), 1000)
                .await
                .unwrap();
            status
        }
        .with_subscriber(self.dispatch.clone())
        .await
    }
}

/// Emits platform-audit's event for a committed record.
fn emit_audit_event(records: usize) {
    let record_id = "0198c0de-7a1b-7000-8000-000000000001";
    tracing::debug!(target: "platform_audit::commit", %record_id, action = %"entry.create", records, "audited");
}

#[tokio::test]
async fn a_request_is_written_as_a_tree_in_chronological_order() {
    let screen = Screen::new();
    let at = screen.clone();
    let router = Router::new().route(
        "/entries/{ledger}",
        post(async move || {
            at.advance(300);
            let insert = tracing::info_span!("insert", amount = 12);
            async {
                at.advance(600);
                tracing::info!(rows = 1, "booked");
                tracing::debug!("not shown");
                let inner =
                    tracing::info_span!("inner", otel.name = "notify bank", otel.kind = "client");
                inner.in_scope(|| at.advance(2_000));
                drop(inner);
                at.advance(200);
            }
            .instrument(insert)
            .await;
            at.advance(700);
            tracing::debug!(target: "sqlx::query", summary = "SELECT * FROM entry …", db.statement = "\n\nSELECT * FROM entry WHERE iban = 'DE02'\n", elapsed_secs = 0.0006);
            tracing::warn!(note = "two words", "slow");
            at.advance(500);
            emit_audit_event(1);
            emit_audit_event(3);
            at.advance(1_007_700);
            StatusCode::CREATED
        }),
    );
    let router = router.route("/fails", get(async || StatusCode::BAD_GATEWAY));
    let router = router.route("/panics", get(async || -> StatusCode { panic!("a test") }));
    screen.send(router.clone(), "POST", "/entries/cash").await;
    screen.advance(1_000);
    screen.send(router.clone(), "GET", "/fails").await;
    screen.send(router.clone(), "GET", "/nowhere").await;
    screen.send(router, "GET", "/panics").await;
    let expected = "\
14:03:08.012Z  201 POST    /entries/cash                                    1.0s  4bf92f35
       +300µs      ├─ insert amount=12 · 2.8ms
       +900µs      │  ├─ INFO  booked rows=1  platform_observability::console::tests
       +900µs      │  └─ notify bank · 2.0ms
       +3.2ms      ├─ SELECT entry · 600µs
       +3.8ms      ├─ WARN  slow note=\"two words\"  platform_observability::console::tests
       +4.3ms      ├─ ✔ audit entry.create 0198c0de-7a1b-7000-8000-000000000001
       +4.3ms      └─ ✔ audit entry.create 0198c0de-7a1b-7000-8000-000000000001 and 2 more
14:03:08.013Z  502 GET     /fails                                            0µs  4bf92f35
14:03:08.013Z  404 GET     /nowhere                                          0µs  4bf92f35
14:03:08.013Z  500 GET     /panics                                           0µs  4bf92f35  panic
         +0µs      └─ ERROR the handler panicked, and the client received 500; the preceding log record has the panic's location error.type=panic http.route=/panics  platform_observability::http
";
    assert_eq!(screen.text(), expected, "\n{}", screen.text());
}

#[tokio::test]
async fn colours_do_not_change_the_text() {
    let screen = Screen::with(true, Sampler::AlwaysOn);
    let router = Router::new().route("/", get(async || tracing::error!("broken")));
    screen.send(router, "GET", "/").await;
    let text = screen.text();
    let path = format!("{:44}", "/");
    let request = format!(
        "\x1b[2m14:03:07.000Z\x1b[0m  \x1b[32m200\x1b[0m \x1b[1mGET    \x1b[0m \x1b[1m{path}\x1b[0m      0µs  \x1b[2m4bf92f35\x1b[0m\n"
    );
    assert!(text.starts_with(&request), "{text:?}");
    assert!(
        text.contains("└─ \x1b[0m\x1b[31mERROR\x1b[0m broken"),
        "{text:?}"
    );
}

#[tokio::test]
async fn control_characters_from_clients_and_events_are_escaped() {
    let screen = Screen::new();
    let hostile = "\x1b[2J\r\n14:03:07.000Z  200 GET /forged\u{202e}";
    let router = Router::new().fallback(async move || {
        tracing::info!(display = %hostile, debug = ?hostile, text = hostile, "{hostile}");
        let span = tracing::info_span!("named", otel.name = hostile, it = %hostile);
        drop(span);
    });
    screen.send(router, "GET", "/%1b%5b2J").await;
    tracing::dispatcher::with_default(&screen.dispatch, || tracing::info!("{hostile}"));
    let text = screen.text();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(!text.contains('\u{202e}'), "{text:?}");
    assert_eq!(text.matches("forged").count(), 7, "{text}");
}

#[tokio::test]
async fn concurrent_requests_do_not_mix() {
    let screen = Screen::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let router = Router::new().route(
        "/{which}",
        get(
            async move |axum::extract::Path(which): axum::extract::Path<String>| {
                for round in 0..3 {
                    barrier.wait().await;
                    tracing::info!(round, "in {which}");
                }
            },
        ),
    );
    let one = screen.send(router.clone(), "GET", "/one");
    let other = screen.send(router, "GET", "/other");
    tokio::join!(one, other);
    let written = screen.written.lock().unwrap().clone();
    assert_eq!(written.len(), 2, "each in one piece: {written:#?}");
    for text in written {
        let which = if text.contains("/one ") {
            "one"
        } else {
            "other"
        };
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(
            text.matches(&format!("in {which} round=")).count(),
            3,
            "{text}"
        );
    }
}

#[tokio::test]
async fn events_outside_requests_are_written_immediately() {
    let screen = Screen::new();
    tracing::dispatcher::with_default(&screen.dispatch, || {
        tracing::info!(port = 3000, "listening");
        let job = tracing::info_span!("job", id = 7, more = tracing::field::Empty);
        job.record("more", "x");
        job.in_scope(|| tracing::warn!("late"));
        tracing::debug!(target: "sqlx::query", summary = "SELECT 1", db.statement = "", elapsed_secs = 0.1);
        emit_audit_event(1);
    });
    let target = "platform_observability::console::tests";
    let expected = format!(
        "\
14:03:07.000Z  INFO  listening port=3000  {target}
14:03:07.000Z  WARN  job{{id=7 more=x}}: late  {target}
14:03:07.000Z  ✔ audit entry.create 0198c0de-7a1b-7000-8000-000000000001
"
    );
    assert_eq!(screen.text(), expected, "\n{}", screen.text());
}

#[tokio::test]
async fn a_request_with_many_events_is_bounded_and_its_warnings_are_not_lost() {
    let screen = Screen::new();
    let router = Router::new().route(
        "/",
        get(async || {
            for _ in 0..MAX_ENTRIES + 10 {
                tracing::info!("repeated");
            }
            let span = tracing::info_span!("beyond");
            span.in_scope(|| tracing::warn!("careful"));
        }),
    );
    screen.send(router, "GET", "/").await;
    let written = screen.written.lock().unwrap().clone();
    assert_eq!(written.len(), 2, "{written:#?}");
    assert!(
        written[0].contains("WARN  beyond: careful"),
        "{}",
        written[0]
    );
    assert!(written[0].ends_with("4bf92f35\n"), "{}", written[0]);
    assert_eq!(written[1].lines().count(), MAX_ENTRIES + 2);
    assert!(written[1].ends_with("└─ … and 11 more\n"), "{}", written[1]);

    let router = Router::new().route(
        "/",
        get(async || {
            for _ in 0..100 {
                tracing::info!("{}", "x".repeat(10_000));
            }
        }),
    );
    screen.send(router, "GET", "/").await;
    let written = screen.written.lock().unwrap().clone();
    assert!(written[2].len() < MAX_BYTES + 4096, "{}", written[2].len());
    assert!(
        written[2].contains("… and 8"),
        "omitted entries are counted"
    );
}

#[tokio::test]
async fn a_long_request_is_written_while_it_runs() {
    let screen = Screen::new();
    let at = screen.clone();
    let router = Router::new().route(
        "/stream",
        get(async move || {
            tracing::info!("first");
            at.advance(6_000_000);
            tracing::info!("second");
            assert!(at.text().contains("second"));
            at.advance(1_000_000);
            tracing::info!("third");
        }),
    );
    screen.send(router, "GET", "/stream").await;
    let target = "platform_observability::console::tests";
    let expected = format!(
        "\
14:03:13.000Z      GET /stream                                              6.0s  4bf92f35  still running
         +0µs      └─ INFO  first  {target}
14:03:13.000Z  INFO  second  {target}  4bf92f35
14:03:14.000Z  INFO  third  {target}  4bf92f35
14:03:14.000Z  200 GET     /stream                                          7.0s  4bf92f35
"
    );
    assert_eq!(screen.text(), expected, "\n{}", screen.text());
}

#[tokio::test]
async fn an_event_of_a_task_after_its_request_is_written_with_the_trace_id() {
    let screen = Screen::new();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let parts = Arc::new(Mutex::new(Some((gone, done))));
    let dispatch = screen.dispatch.clone();
    let router = Router::new().route(
        "/",
        get(async move || {
            let (gone, done) = parts.lock().unwrap().take().unwrap();
            let task = async move {
                gone.await.unwrap();
                tracing::info!("after");
                done.send(()).unwrap();
            };
            crate::spawn(task.with_subscriber(dispatch.clone()));
        }),
    );
    screen.send(router, "GET", "/").await;
    assert_eq!(screen.text().lines().count(), 1, "{}", screen.text());
    go.send(()).unwrap();
    ended.await.unwrap();
    let text = screen.text();
    let after = text.lines().nth(1).unwrap();
    assert!(
        after.contains("INFO  after") && after.ends_with("4bf92f35"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_whose_span_is_not_recorded_is_written_like_any_other() {
    let screen = Screen::with(false, Sampler::AlwaysOff);
    let router = Router::new().route("/{id}", get(async || tracing::info!("here")));
    screen.send(router, "GET", "/7").await;
    let text = screen.text();
    assert!(text.contains("  200 GET     /7 "), "{text}");
    assert!(text.contains("  4bf92f35\n"), "{text}");
    assert!(text.contains("└─ INFO  here"), "{text}");
}

#[tokio::test]
async fn a_request_whose_client_disconnects_is_written() {
    let screen = Screen::new();
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let request = Request::builder().uri("/").body(Body::empty()).unwrap();
    let router = router.layer(screen.layer.clone());
    let mut call = Box::pin(
        router
            .oneshot(request)
            .with_subscriber(screen.dispatch.clone()),
    );
    assert!(futures_util::poll!(&mut call).is_pending());
    // Dropped with the same subscriber, as in a server.
    tracing::dispatcher::with_default(&screen.dispatch, || drop(call));
    let text = screen.text();
    assert!(text.contains("  --- GET     / "), "{text}");
    assert!(text.ends_with("  cancelled\n"), "{text}");
}
