//! How a request may end, and what is recorded of it then.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::retry::{Policy, Retry};

use super::*;

#[tokio::test]
async fn a_4xx_and_a_5xx_are_errors_of_the_client() {
    for (status, error) in [(302_u16, false), (404, true), (503, true)] {
        let capture = Capture::start();
        let answer = async move || StatusCode::from_u16(status).unwrap();
        let port = serve(Router::new().route("/", get(answer))).await;
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
        holds(&duration, "http.response.status_code", i64::from(status));
    }
}

/// Sends once more what was not taken.
#[derive(Clone)]
struct Again;

impl<B, E> Policy<Request<String>, http::Response<B>, E> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<String>,
        result: &mut Result<http::Response<B>, E>,
    ) -> Option<Ready<()>> {
        let is_busy = matches!(result, Ok(answer) if answer.status() == 503);
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
async fn each_attempt_is_a_span_of_its_own() {
    let capture = Capture::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = async move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let port = serve(Router::new().route("/", get(answer))).await;
    let retrying = Retry::new(Again, client(&layer(&capture)));
    let sent = request(format!("http://127.0.0.1:{port}/"));
    assert_eq!(retrying.oneshot(sent).await.unwrap().status(), 200);
    let spans = capture.spans().into_iter().map(|span| span.0);
    let spans: Vec<_> = spans
        .filter(|span| span.span_kind == SpanKind::Client)
        .collect();
    let [first, second] = &spans[..] else {
        panic!("{spans:#?}");
    };
    holds(&first.attributes, "http.response.status_code", 503);
    assert_eq!(value(&first.attributes, "http.request.resend_count"), None);
    holds(&second.attributes, "http.response.status_code", 200);
    holds(&second.attributes, "http.request.resend_count", 1);
    assert_ne!(first.span_context.span_id(), second.span_context.span_id());
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_its_message() {
    let capture = Capture::start();
    let (_kept, port) = closed_port();
    let sent = request(format!("http://127.0.0.1:{port}/?a=jane"));
    client(&layer(&capture)).oneshot(sent).await.unwrap_err();
    let span = only_span(&capture);
    let name = "hyper_util::client::legacy::client::Error";
    holds(&span.attributes, "error.type", name);
    assert_eq!(span.status, Status::error(""));
    assert_eq!(value(&span.attributes, "http.response.status_code"), None);
    // None was spoken.
    assert_eq!(value(&span.attributes, "network.protocol.version"), None);
    holds(&only_duration(&capture), "error.type", name);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled() {
    let capture = Capture::start();
    let (port, arrives) = silent().await;
    let sent = client(&layer(&capture)).oneshot(request(format!("http://127.0.0.1:{port}/")));
    tokio::select! {
        answer = sent => panic!("{answer:?}"),
        told = arrives => told.unwrap(),
    }
    let span = only_span(&capture);
    holds(&span.attributes, "error.type", "cancelled");
    assert_eq!(span.status, Status::error(""));
    holds(&only_duration(&capture), "error.type", "cancelled");
}

#[tokio::test]
async fn a_panic_of_the_client_passes_through_and_is_marked() {
    let capture = Capture::start();
    let panics = tower::service_fn(
        async |_: Request<String>| -> Result<http::Response<()>, ()> {
            panic!("as the test wants")
        },
    );
    let sent = layer(&capture)
        .layer(panics)
        .oneshot(request("http://a.example/"));
    assert!(tokio::spawn(sent).await.unwrap_err().is_panic());
    holds(&only_span(&capture).attributes, "error.type", "panic");
    holds(&only_duration(&capture), "error.type", "panic");
}

#[tokio::test]
async fn the_span_ends_with_the_head_of_the_response() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/", get(async || "hello"))).await;
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let mut sent = std::pin::pin!(client(&layer(&capture)).call(sent));
    let answer = sent.as_mut().await.unwrap();
    // With the body unread and the future kept.
    only_span(&capture);
    only_duration(&capture);
    drop(answer);
}

#[tokio::test]
async fn what_is_dropped_with_a_request_is_dropped_inside_its_span() {
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
    let silent = tower::service_fn(move |_: Request<String>| {
        let seen = Seen(Arc::clone(&seen));
        async move {
            let _seen = seen;
            std::future::pending::<Result<http::Response<()>, ()>>().await
        }
    });
    drop(
        layer(&capture)
            .layer(silent)
            .call(request("http://a.example/")),
    );
    let span = only_span(&capture);
    holds(&span.attributes, "error.type", "cancelled");
    let id = span.span_context.span_id().to_string();
    assert_eq!(*dropped.lock().unwrap(), id);
}
