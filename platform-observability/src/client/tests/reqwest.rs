//! The layer as a middleware of reqwest-middleware's clients.

use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use super::*;

fn client(layer: &HttpClientLayer) -> ClientWithMiddleware {
    ClientBuilder::new(::reqwest::Client::new())
        .with(layer.clone())
        .build()
}

#[tokio::test]
async fn a_request_is_recorded_and_told() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let uri = format!("http://127.0.0.1:{port}/entries/7?name=jane");
    let answer = client(&layer)
        .get(uri)
        .with_extension(UrlTemplate("/entries/{id}"))
        .with_extension(ResendCount(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let span = only_span(&capture);
    assert_eq!(span.name, "GET /entries/{id}");
    assert_eq!(span.span_kind, SpanKind::Client);
    let attributes = &span.attributes;
    holds(attributes, "http.request.method", "GET");
    holds(attributes, "server.address", "127.0.0.1");
    holds(attributes, "server.port", i64::from(port));
    holds(attributes, "url.template", "/entries/{id}");
    holds(attributes, "http.request.resend_count", 1);
    holds(attributes, "http.response.status_code", 200);
    holds(attributes, "network.protocol.version", "1.1");
    holds(attributes, "network.peer.address", "127.0.0.1");
    holds(attributes, "network.peer.port", i64::from(port));
    let context = &span.span_context;
    let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    assert_eq!(heard.lock().unwrap()[0]["traceparent"], expected);
    let duration = only_duration(&capture);
    holds(&duration, "server.port", i64::from(port));
    holds(&duration, "http.response.status_code", 200);
}

#[tokio::test]
async fn the_url_is_redacted_and_without_fragment() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let url = format!("http://jane:secret@127.0.0.1:{port}/x?name=jane#secret");
    // A `RequestBuilder` would make a header of the user and the password.
    let sent = ::reqwest::Request::new(http::Method::GET, url.parse().unwrap());
    client(&layer(&capture)).execute(sent).await.unwrap();
    let span = only_span(&capture);
    let url = format!("http://REDACTED:REDACTED@127.0.0.1:{port}/x?name=REDACTED");
    holds(&span.attributes, "url.full", url);
    let all = format!("{span:?}");
    assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
}

#[tokio::test]
async fn an_unknown_host_is_not_told() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to([".example.org"]);
    client(&layer)
        .get(format!("http://127.0.0.1:{port}/"))
        .send()
        .await
        .unwrap();
    assert!(!heard.lock().unwrap()[0].contains_key("traceparent"));
}

#[tokio::test]
async fn a_status_from_400_on_is_an_error() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let uri = format!("http://127.0.0.1:{port}/");
    client(&layer(&capture)).get(uri).send().await.unwrap();
    let span = only_span(&capture);
    holds(&span.attributes, "error.type", "404");
    assert_eq!(span.status, Status::error(""));
    holds(&only_duration(&capture), "error.type", "404");
}

#[tokio::test]
async fn errors_are_named_by_their_kind() {
    let capture = Capture::start();
    let (_kept, port) = closed_port();
    let uri = format!("http://127.0.0.1:{port}/");
    client(&layer(&capture)).get(uri).send().await.unwrap_err();
    holds(&only_span(&capture).attributes, "error.type", "connect");

    let capture = Capture::start();
    let silent = get(std::future::pending::<()>);
    let port = serve(Router::new().route("/", silent)).await;
    let sent = client(&layer(&capture))
        .get(format!("http://127.0.0.1:{port}/"))
        .timeout(Duration::from_millis(50))
        .send();
    sent.await.unwrap_err();
    holds(&only_span(&capture).attributes, "error.type", "timeout");
    holds(&only_duration(&capture), "error.type", "timeout");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled() {
    let capture = Capture::start();
    let (port, arrives) = silent().await;
    let sent = client(&layer(&capture))
        .get(format!("http://127.0.0.1:{port}/"))
        .send();
    tokio::select! {
        answer = sent => panic!("{answer:?}"),
        told = arrives => told.unwrap(),
    }
    holds(&only_span(&capture).attributes, "error.type", "cancelled");
    holds(&only_duration(&capture), "error.type", "cancelled");
}
