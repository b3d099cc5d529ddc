//! Over real sockets, the version is the one that was spoken.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::http::{Request, Version};
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use platform_observability::testing::Capture;

async fn spoken(http_2: bool) -> Version {
    let capture = Capture::start();
    let router = Router::new()
        .route("/entries/{id}", get(async || "hello"))
        .layer(capture.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let client: Client<_, Empty<axum::body::Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(http_2)
        .build_http();
    let request = Request::get(format!("http://{address}/entries/7"));
    let response = client
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let version = response.version();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    server.abort();
    let expected = if http_2 { "2" } else { "1.1" };
    capture
        .span("GET /entries/{id}")
        .has("network.protocol.version", expected)
        .has("url.scheme", "http")
        .has("server.address", "127.0.0.1")
        .has("server.port", i64::from(address.port()));
    capture
        .point("http.server.request.duration")
        .has("network.protocol.version", expected);
    version
}

#[tokio::test]
async fn http_1_1_is_1_1() {
    assert_eq!(spoken(false).await, Version::HTTP_11);
}

#[tokio::test]
async fn http_2_is_2() {
    assert_eq!(spoken(true).await, Version::HTTP_2);
}
