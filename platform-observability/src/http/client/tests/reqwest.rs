//! The layer as a middleware of reqwest clients.

use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use super::*;

fn client(layer: &HttpClientLayer) -> ClientWithMiddleware {
    ClientBuilder::new(::reqwest::Client::new())
        .with(layer.clone())
        .build()
}

#[tokio::test]
async fn a_reqwest_request_is_recorded_and_propagates_the_context() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let uri = format!("http://127.0.0.1:{port}/entries/7?name=jane");
    let response = client(&layer)
        .get(uri)
        .with_extension(UrlTemplate("/entries/{id}"))
        .with_extension(ResendCount(1))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let span = only_span(&capture);
    assert_eq!(span.name, "GET /entries/{id}");
    assert_eq!(span.span_kind, SpanKind::Client);
    let attributes = &span.attributes;
    assert_has(attributes, "http.request.method", "GET");
    assert_has(attributes, "server.address", "127.0.0.1");
    assert_has(attributes, "server.port", i64::from(port));
    assert_has(attributes, "url.template", "/entries/{id}");
    assert_has(attributes, "http.request.resend_count", 1);
    assert_has(attributes, "http.response.status_code", 200);
    assert_has(attributes, "network.protocol.version", "1.1");
    assert_has(attributes, "network.peer.address", "127.0.0.1");
    assert_has(attributes, "network.peer.port", i64::from(port));
    let context = &span.span_context;
    let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    assert_eq!(received.lock().unwrap()[0]["traceparent"], expected);
    let duration = only_duration(&capture);
    assert_has(&duration, "server.port", i64::from(port));
    assert_has(&duration, "http.response.status_code", 200);
}

#[tokio::test]
async fn a_reqwest_url_is_redacted_and_recorded_without_fragment() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let url = format!("http://jane:secret@127.0.0.1:{port}/x?name=jane#secret");
    // A `RequestBuilder` would turn the user and the password into a header.
    let sent = ::reqwest::Request::new(http::Method::GET, url.parse().unwrap());
    client(&layer(&capture)).execute(sent).await.unwrap();
    let span = only_span(&capture);
    let url = format!("http://REDACTED:REDACTED@127.0.0.1:{port}/x?name=REDACTED");
    assert_has(&span.attributes, "url.full", url);
    let all = format!("{span:?}");
    assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
}

#[tokio::test]
async fn a_host_that_is_not_configured_receives_no_context_from_reqwest() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to([".example.org"]);
    client(&layer)
        .get(format!("http://127.0.0.1:{port}/"))
        .send()
        .await
        .unwrap();
    assert!(!received.lock().unwrap()[0].contains_key("traceparent"));
}

#[tokio::test]
async fn a_reqwest_response_with_status_400_or_above_is_an_error() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let uri = format!("http://127.0.0.1:{port}/");
    client(&layer(&capture)).get(uri).send().await.unwrap();
    let span = only_span(&capture);
    assert_has(&span.attributes, "error.type", "404");
    assert_eq!(span.status, Status::error(""));
    assert_has(&only_duration(&capture), "error.type", "404");
}

#[tokio::test]
async fn a_reqwest_error_has_its_kind_as_error_type() {
    let capture = Capture::start();
    let (_kept, port) = closed_port();
    let uri = format!("http://127.0.0.1:{port}/");
    client(&layer(&capture)).get(uri).send().await.unwrap_err();
    assert_has(&only_span(&capture).attributes, "error.type", "connect");

    let capture = Capture::start();
    let pending = get(std::future::pending::<()>);
    let port = serve(Router::new().route("/", pending)).await;
    let sent = client(&layer(&capture))
        .get(format!("http://127.0.0.1:{port}/"))
        .timeout(Duration::from_millis(50))
        .send();
    sent.await.unwrap_err();
    assert_has(&only_span(&capture).attributes, "error.type", "timeout");
    assert_has(&only_duration(&capture), "error.type", "timeout");
}

#[tokio::test]
async fn a_reqwest_request_that_the_caller_drops_is_cancelled() {
    let capture = Capture::start();
    let (port, arrives) = unresponsive_server().await;
    let sent = client(&layer(&capture))
        .get(format!("http://127.0.0.1:{port}/"))
        .send();
    tokio::select! {
        response = sent => panic!("{response:?}"),
        arrived = arrives => arrived.unwrap(),
    }
    assert_has(&only_span(&capture).attributes, "error.type", "cancelled");
    assert_has(&only_duration(&capture), "error.type", "cancelled");
}
