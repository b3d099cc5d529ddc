//! The recorded outcome of requests: responses, errors and cancellation.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::retry::{Policy, Retry};

use super::*;

#[tokio::test]
async fn status_codes_4xx_and_5xx_are_errors() {
    for (status, error) in [(302_u16, false), (404, true), (503, true)] {
        let capture = Capture::start();
        let response = async move || StatusCode::from_u16(status).unwrap();
        let port = serve(Router::new().route("/", get(response))).await;
        let sent = request(format!("http://127.0.0.1:{port}/"));
        client(&layer(&capture)).oneshot(sent).await.unwrap();
        let span = only_span(&capture);
        let expected = if error {
            Status::error("")
        } else {
            Status::Unset
        };
        assert_eq!(span.status, expected);
        let expected = error.then(|| Value::from(status.to_string()));
        let duration = only_duration(&capture);
        assert_eq!(value(&span.attributes, "error.type"), expected.as_ref());
        assert_eq!(value(&duration, "error.type"), expected.as_ref());
        assert_has(&duration, "http.response.status_code", i64::from(status));
    }
}

/// Retries once on 503.
#[derive(Clone)]
struct RetryOnce;

impl<B, E> Policy<Request<String>, http::Response<B>, E> for RetryOnce {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<String>,
        result: &mut Result<http::Response<B>, E>,
    ) -> Option<Ready<()>> {
        let is_busy = matches!(result, Ok(response) if response.status() == 503);
        is_busy.then(|| {
            request.extensions_mut().insert(ResendCount(1));
            ready(())
        })
    }

    fn clone_request(&mut self, request: &Request<String>) -> Option<Request<String>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn each_retry_has_its_own_span() {
    let capture = Capture::start();
    let attempts = Arc::new(AtomicUsize::new(0));
    let response = async move || match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let port = serve(Router::new().route("/", get(response))).await;
    let retrying = Retry::new(RetryOnce, client(&layer(&capture)));
    let sent = request(format!("http://127.0.0.1:{port}/"));
    assert_eq!(retrying.oneshot(sent).await.unwrap().status(), 200);
    let spans = capture.spans().into_iter().map(|span| span.0);
    let spans: Vec<_> = spans
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    let [first, second] = &spans[..] else {
        panic!("{spans:#?}");
    };
    assert_has(&first.attributes, "http.response.status_code", 503);
    assert_eq!(value(&first.attributes, "http.request.resend_count"), None);
    assert_has(&second.attributes, "http.response.status_code", 200);
    assert_has(&second.attributes, "http.request.resend_count", 1);
    assert_ne!(first.span_context.span_id(), second.span_context.span_id());
}

#[tokio::test]
async fn a_refused_connection_is_recorded_without_the_errors_message() {
    let capture = Capture::start();
    let (_kept, port) = closed_port();
    let sent = request(format!("http://127.0.0.1:{port}/?a=jane"));
    client(&layer(&capture)).oneshot(sent).await.unwrap_err();
    let span = only_span(&capture);
    let name = "hyper_util::client::legacy::client::Error";
    assert_has(&span.attributes, "error.type", name);
    assert_eq!(span.status, Status::error(""));
    assert_eq!(value(&span.attributes, "http.response.status_code"), None);
    // There was no response.
    assert_eq!(value(&span.attributes, "network.protocol.version"), None);
    assert_has(&only_duration(&capture), "error.type", name);
}

#[tokio::test]
async fn a_request_that_the_caller_drops_is_cancelled() {
    let capture = Capture::start();
    let (port, arrives) = unresponsive_server().await;
    let sent = client(&layer(&capture)).oneshot(request(format!("http://127.0.0.1:{port}/")));
    tokio::select! {
        response = sent => panic!("{response:?}"),
        arrived = arrives => arrived.unwrap(),
    }
    let span = only_span(&capture);
    assert_has(&span.attributes, "error.type", "cancelled");
    assert_eq!(span.status, Status::error(""));
    assert_has(&only_duration(&capture), "error.type", "cancelled");
}

#[tokio::test]
async fn a_panic_of_the_client_is_recorded_and_continues() {
    let capture = Capture::start();
    let panics = tower::service_fn(
        async |_: Request<String>| -> Result<http::Response<()>, ()> {
            panic!("expected by the test")
        },
    );
    let sent = layer(&capture)
        .layer(panics)
        .oneshot(request("http://a.example/"));
    assert!(tokio::spawn(sent).await.unwrap_err().is_panic());
    assert_has(&only_span(&capture).attributes, "error.type", "panic");
    assert_has(&only_duration(&capture), "error.type", "panic");
}

#[tokio::test]
async fn the_span_ends_with_the_responses_head() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/", get(async || "hello"))).await;
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let mut sent = std::pin::pin!(client(&layer(&capture)).call(sent));
    let response = sent.as_mut().await.unwrap();
    // The body is unread, and the future still exists.
    only_span(&capture);
    only_duration(&capture);
    drop(response);
}

#[tokio::test]
async fn destructors_of_a_dropped_request_run_inside_its_span() {
    struct Seen(Arc<Mutex<String>>);
    impl Drop for Seen {
        fn drop(&mut self) {
            let context = opentelemetry::Context::current();
            *self.0.lock().unwrap() = context.span().span_context().span_id().to_string();
        }
    }
    let capture = Capture::start();
    let dropped = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&dropped);
    let pending = tower::service_fn(move |_: Request<String>| {
        let seen = Seen(Arc::clone(&seen));
        async move {
            let _seen = seen;
            std::future::pending::<Result<http::Response<()>, ()>>().await
        }
    });
    drop(
        layer(&capture)
            .layer(pending)
            .call(request("http://a.example/")),
    );
    let span = only_span(&capture);
    assert_has(&span.attributes, "error.type", "cancelled");
    let id = span.span_context.span_id().to_string();
    assert_eq!(*dropped.lock().unwrap(), id);
}
