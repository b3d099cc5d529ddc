//! The recorded outcome of requests: responses, errors, panics and cancellation.

use std::sync::OnceLock;
use std::time::Instant;

use super::*;

#[tokio::test]
async fn only_5xx_status_codes_are_errors() {
    for (status, error) in [(404_u16, false), (503, true)] {
        let capture = Capture::start();
        let handler = async move || StatusCode::from_u16(status).unwrap();
        let router = Router::new().route("/", get(handler));
        send(capture.layer(), router, request("GET", "/")).await;
        let span = only_span(&capture);
        assert_eq!(span.failed(), error);
        if error {
            span.has("error.type", status.to_string());
            duration(&capture).has("error.type", status.to_string());
        } else {
            span.lacks("error.type");
            duration(&capture).lacks("error.type");
        }
    }
}

#[tokio::test]
async fn a_request_is_active_until_its_end_by_response_panic_or_disconnect() {
    async fn panics() {
        panic!("expected by the test");
    }
    let capture = Capture::start();
    let router = hello()
        .route("/panics", get(panics))
        .route("/waits", get(std::future::pending::<()>))
        .route(
            "/streams",
            get(async || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        )
        .layer(capture.layer());
    for path in ["/", "/panics"] {
        let response = router.clone().oneshot(request("GET", path)).await.unwrap();
        let expected = if path == "/" { 1.0 } else { 0.0 };
        assert_eq!(
            active(&capture),
            expected,
            "{path}: until the end of its body"
        );
        response.into_body().collect().await.unwrap();
        assert_eq!(active(&capture), 0.0, "{path}");
    }
    let mut waits = Box::pin(router.clone().oneshot(request("GET", "/waits")));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let streams = router.clone().oneshot(request("GET", "/streams")).await;
    assert_eq!(active(&capture), 2.0);
    drop(waits);
    assert_eq!(active(&capture), 1.0);
    drop(streams);
    assert_eq!(active(&capture), 0.0);
    let point = capture.point(ACTIVE);
    assert_eq!(point.has("url.scheme", "http").attributes.len(), 2);
}

#[tokio::test]
async fn a_client_that_disconnects_before_or_during_the_response_cancels_the_request() {
    let slow = || {
        let first = stream::once(async { Ok::<_, Infallible>(Bytes::from("first")) });
        Body::from_stream(first.chain(stream::pending()))
    };
    let before = Router::new().route("/", get(std::future::pending::<()>));
    let during = Router::new().route("/", get(async move || slow()));
    for (moment, router) in [("before", before), ("during", during), ("after", hello())] {
        let capture = Capture::start();
        let mut response = Box::pin(router.layer(capture.layer()).oneshot(request("GET", "/")));
        match futures_util::poll!(&mut response) {
            std::task::Poll::Pending => drop(response),
            std::task::Poll::Ready(response) => {
                let mut body = response.unwrap().into_body();
                body.frame().await.unwrap().unwrap();
                drop(body);
            }
        }
        let span = capture.span("GET /");
        let point = duration(&capture);
        if moment == "after" {
            span.lacks("error.type");
            point.lacks("error.type");
        } else {
            assert!(span.failed());
            span.has("error.type", "cancelled");
            point.has("error.type", "cancelled");
        }
        if moment == "before" {
            assert_eq!(capture.points(RESPONSE_SIZE).len(), 0);
        }
        if moment == "during" {
            span.has("http.response.status_code", 200);
            assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
        }
    }
}

#[tokio::test]
async fn a_panic_of_the_handler_returns_500_and_is_logged_without_its_message() {
    async fn panics() {
        let iban = "DE02120300000000202051";
        panic!("no such account: {iban}");
    }
    let capture = Capture::start();
    let router = Router::new().route("/", get(panics));
    let response = router
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(response.headers().contains_key("x-request-id"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem = r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;
    assert_eq!(body, problem);
    let span = capture.span("GET /");
    span.has("error.type", "panic")
        .has("http.response.status_code", 500);
    assert!(span.failed());
    duration(&capture)
        .has("error.type", "panic")
        .has("http.response.status_code", 500);
    let logs = capture.logs();
    assert_eq!(logs.len(), 1, "{logs:#?}");
    assert!(logs[0].text.contains("panicked"));
    assert_eq!(
        logs[0].trace_id,
        Some(span.0.span_context.trace_id().to_string())
    );
    assert!(!format!("{logs:?}{span:?}").contains("DE02"));
}

#[tokio::test]
async fn the_response_to_a_panic_is_measured() {
    async fn panics() {
        panic!("expected by the test");
    }
    for (method, sent) in [("GET", true), ("HEAD", false)] {
        let capture = Capture::start();
        let router = Router::new().route("/", get(panics));
        let (_, body) = send(capture.layer(), router, request(method, "/")).await;
        let size = capture.point(RESPONSE_SIZE);
        let expected = if sent { body.len() as f64 } else { 0.0 };
        assert_eq!((size.count, size.sum), (1, expected), "{method}");
    }
}

#[tokio::test]
async fn a_service_that_panics_before_it_returns_a_future_returns_500() {
    let capture = Capture::start();
    let service = tower::service_fn(
        |_: Request<Body>| -> std::future::Ready<Result<Response, Infallible>> {
            panic!("expected by the test")
        },
    );
    let layered = tower_layer::Layer::layer(&capture.layer(), service);
    let response = layered.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(response.status(), 500);
    only_span(&capture).has("error.type", "panic");

    let capture = Capture::start();
    let router = Router::new().route_service("/", service);
    let (status, _) = send(capture.layer(), router, request("GET", "/")).await;
    assert_eq!(status, 500);
    only_span(&capture).has("error.type", "panic");
}

#[tokio::test]
async fn a_panic_of_the_body_is_recorded() {
    let capture = Capture::start();
    let body = || {
        Body::from_stream(stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Bytes, Infallible>>> {
                panic!("expected by the test")
            },
        ))
    };
    let router = Router::new().route("/", get(async move || body()));
    let response = router
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    let read = tokio::spawn(response.into_body().collect()).await;
    assert!(read.unwrap_err().is_panic());
    capture
        .span("GET /")
        .has("error.type", "panic")
        .has("http.response.status_code", 200);
    assert_eq!(active(&capture), 0.0);
}

#[tokio::test]
async fn a_failing_body_has_its_errors_type_as_error_type() {
    let capture = Capture::start();
    let fails =
        async || Body::from_stream(stream::once(async { Err::<Bytes, _>(std::fmt::Error) }));
    let router = Router::new().route("/", get(fails)).layer(capture.layer());
    let response = router.oneshot(request("GET", "/")).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    let span = capture.span("GET /");
    assert!(span.failed());
    span.has("error.type", "axum_core::error::Error")
        .has("http.response.status_code", 200);
    duration(&capture).has("error.type", "axum_core::error::Error");
}

#[tokio::test]
async fn the_span_includes_the_body_and_the_latency_does_not() {
    let capture = Capture::start();
    let sent = Instant::now();
    // Not earlier than the response's head, and 60 ms before the end of its body.
    let body_began = Arc::new(OnceLock::new());
    let began = Arc::clone(&body_began);
    let late = async move || {
        Body::from_stream(stream::once(async move {
            began.get_or_init(|| sent.elapsed());
            tokio::time::sleep(Duration::from_millis(60)).await;
            let context = opentelemetry::Context::current();
            Ok::<_, Infallible>(context.span().span_context().span_id().to_string())
        }))
    };
    let (_, inside) = send(
        capture.layer(),
        Router::new().route("/", get(late)),
        request("GET", "/"),
    )
    .await;
    let span = capture.span("GET /");
    assert_eq!(
        inside,
        span.0.span_context.span_id().to_string(),
        "the body is produced inside the span"
    );
    let recorded = span.0.end_time.duration_since(span.0.start_time).unwrap();
    assert!(recorded >= Duration::from_millis(60), "{recorded:?}");
    let seconds = duration(&capture).sum;
    let body_began = body_began.get().unwrap();
    assert!(
        seconds <= body_began.as_secs_f64(),
        "{seconds} s, and the body began after {body_began:?}"
    );
}

#[tokio::test]
async fn the_bytes_of_bodies_of_unknown_length_are_counted() {
    let capture = Capture::start();
    let echo = post(async |body: Body| body);
    let chunks = ["ab", "", "cde"].map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let mut sent = request("POST", "/");
    *sent.body_mut() = Body::from_stream(stream::iter(chunks));
    let (_, body) = send(capture.layer(), Router::new().route("/", echo), sent).await;
    assert_eq!(body, "abcde");
    assert_eq!(capture.point(REQUEST_SIZE).sum, 5.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    let capture = Capture::start();
    // A proxy that copies the headers of its upstream responds like this.
    let empty = async || {
        let body = stream::pending::<Result<Bytes, Infallible>>();
        ([("content-length", "0")], Body::from_stream(body))
    };
    let router = hello()
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/empty", get(empty))
        .layer(capture.layer());
    let empty = router.clone().oneshot(request("GET", "/empty"));
    let empty = empty.await.unwrap();
    let none = router
        .clone()
        .oneshot(request("GET", "/none"))
        .await
        .unwrap();
    let head = router.oneshot(request("HEAD", "/")).await.unwrap();
    drop((none, head, empty));
    for name in ["GET /none", "HEAD /", "GET /empty"] {
        capture.span(name).lacks("error.type");
    }
}

#[tokio::test]
async fn an_error_of_the_service_has_its_type_as_error_type() {
    let capture = Capture::start();
    let service = tower::service_fn(async |_: Request<Body>| Err::<Response, _>(std::fmt::Error));
    let service = tower_layer::Layer::layer(&capture.layer(), service);
    service.oneshot(request("GET", "/")).await.unwrap_err();
    only_span(&capture).has("error.type", "core::fmt::Error");
}

#[tokio::test]
async fn an_unobserved_request_with_a_body_in_memory_ends_with_its_head() {
    let capture = Capture::with_sampler(Sampler::AlwaysOff);
    let router = hello().layer(capture.layer());
    let response = router.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(active(&capture), 0.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
    drop(response);
    assert_eq!(duration(&capture).count, 1, "it is measured once");
}

#[tokio::test]
async fn an_unobserved_request_with_a_streaming_body_ends_with_its_body() {
    let capture = Capture::with_sampler(Sampler::AlwaysOff);
    let chunks = || stream::iter(["he", "llo"]).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    let router = Router::new().route("/", get(async move || Body::from_stream(chunks())));
    let router = router.layer(capture.layer());
    let response = router.oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(active(&capture), 1.0);
    response.into_body().collect().await.unwrap();
    assert_eq!(active(&capture), 0.0);
    assert_eq!(capture.point(RESPONSE_SIZE).sum, 5.0);
}

/// Clients may announce any length.
#[tokio::test]
async fn only_bytes_of_the_request_body_that_were_read_are_counted() {
    async fn first(body: Body) {
        body.into_data_stream().next().await.unwrap().unwrap();
    }
    let router = Router::new()
        .route("/unread", post(async || StatusCode::UNAUTHORIZED))
        .route("/first", post(first));
    for (path, expected) in [("/unread", 0.0), ("/first", 3.0)] {
        let capture = Capture::start();
        let pieces = stream::iter(["abc", "defg"].map(Ok::<_, Infallible>));
        let mut sent = with(
            request("POST", path),
            &[("content-length", "18446744073709551613")],
        );
        *sent.body_mut() = Body::from_stream(pieces);
        send(capture.layer(), router.clone(), sent).await;
        let size = capture.point(REQUEST_SIZE);
        assert_eq!((size.count, size.sum), (1, expected), "{path}");
    }
}

/// hyper does not poll a body after its trailers.
#[tokio::test]
async fn trailers_end_a_body() {
    use http_body::Frame;
    let capture = Capture::start();
    let trailers = || {
        let data = Frame::data(Bytes::from("data"));
        let trailers = Frame::trailers(axum::http::HeaderMap::new());
        let frames = stream::iter([data, trailers].map(Ok::<_, Infallible>));
        Body::new(http_body_util::StreamBody::new(frames))
    };
    let router = Router::new().route("/", get(async move || trailers()));
    let response = router.layer(capture.layer()).oneshot(request("GET", "/"));
    let mut body = response.await.unwrap().into_body();
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    capture.span("GET /").lacks("error.type");
    duration(&capture).lacks("error.type");
}

/// An HTTP/1 server does not poll the body after the announced number of bytes.
#[tokio::test]
async fn a_body_ends_with_the_number_of_bytes_of_its_size_hint() {
    struct Exactly(Option<Bytes>);
    impl http_body::Body for Exactly {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            let data = self.0.take();
            std::task::Poll::Ready(data.map(|data| Ok(http_body::Frame::data(data))))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
        }
    }
    for text in ["exact", ""] {
        let capture = Capture::start();
        let response = async move || Body::new(Exactly(Some(Bytes::from(text))));
        let router = Router::new().route("/", get(response));
        let response = router.layer(capture.layer()).oneshot(request("GET", "/"));
        let mut body = response.await.unwrap().into_body();
        if !text.is_empty() {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        capture.span("GET /").lacks("error.type");
        duration(&capture).lacks("error.type");
        let size = capture.point(RESPONSE_SIZE);
        assert_eq!((size.count, size.sum), (1, text.len() as f64));
    }
}
