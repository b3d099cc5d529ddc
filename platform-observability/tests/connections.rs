//! The HTTP layer over real HTTP/1.1 and HTTP/2 connections.

#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, Version};
use axum::routing::get;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use platform_observability::testing::{Capture, Span};

/// A timeout that no test reaches unless it fails.
const TIMEOUT: Duration = Duration::from_secs(30);

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A server, its client, and its captured telemetry.
struct Served {
    capture: Capture,
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Served {
    async fn start(version: Version) -> Self {
        let capture = Capture::start();
        let one = || stream::once(async { Ok::<_, Infallible>(Bytes::from("first")) });
        let endless = async move || Body::from_stream(one().chain(stream::pending()));
        let broken = async move || {
            let panics = stream::poll_fn(|_| -> std::task::Poll<Option<_>> {
                panic!("expected by the test")
            });
            // The pause makes the first chunk arrive before the panic.
            let pause = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(Bytes::from("second"))
            });
            Body::from_stream(one().chain(pause).chain(panics))
        };
        let router = Router::new()
            .route("/entries/{id}", get(async || "hello"))
            .route("/never", get(pending::<()>))
            .route("/endless", get(endless))
            .route(
                "/panics",
                get(async || -> () { panic!("expected by the test") }),
            )
            .route("/broken", get(broken))
            .layer(capture.layer());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::builder(TokioExecutor::new())
            .http2_only(version == Version::HTTP_2)
            .build_http();
        Self {
            capture,
            address,
            client,
        }
    }

    fn request(&self, path: &str) -> hyper_util::client::legacy::ResponseFuture {
        let request = Request::get(format!("http://{}{path}", self.address));
        self.client.request(request.body(Empty::new()).unwrap())
    }

    async fn response(&self, path: &str) -> Response<Incoming> {
        self.request(path).await.unwrap()
    }

    fn active(&self) -> f64 {
        let points = self.capture.points("http.server.active_requests");
        points.iter().map(|point| point.sum).sum()
    }

    /// Waits for the span to end. Then no request is active.
    async fn ended(&self, name: &str) -> Span {
        let began = Instant::now();
        loop {
            let ended = self.capture.spans();
            if let Some(span) = ended.into_iter().find(|span| span.0.name == name) {
                assert_eq!(self.active(), 0.0);
                return span;
            }
            assert!(began.elapsed() < TIMEOUT, "{name} has not ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_active(&self) {
        let began = Instant::now();
        while self.active() != 1.0 {
            assert!(began.elapsed() < TIMEOUT, "no request has arrived");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn version_attribute(version: Version) -> &'static str {
    if version == Version::HTTP_2 {
        "2"
    } else {
        "1.1"
    }
}

#[tokio::test]
async fn a_complete_response_is_recorded_with_its_protocol_version_and_no_error() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let response = served.response("/entries/7").await;
        assert_eq!(response.version(), version);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
        served
            .ended("GET /entries/{id}")
            .await
            .has("network.protocol.version", version_attribute(version))
            .has("url.scheme", "http")
            .has("server.address", "127.0.0.1")
            .has("server.port", i64::from(served.address.port()))
            .has("http.response.status_code", 200)
            .lacks("error.type");
        served
            .capture
            .point("http.server.request.duration")
            .has("network.protocol.version", version_attribute(version))
            .lacks("error.type");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_response_cancels_the_request() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let request = tokio::spawn(served.request("/never"));
        served.until_active().await;
        request.abort();
        served
            .ended("GET /never")
            .await
            .has("error.type", "cancelled")
            .has("network.protocol.version", version_attribute(version))
            .lacks("http.response.status_code");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_during_the_response_cancels_the_request() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let mut body = served.response("/endless").await.into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first");
        assert_eq!(served.active(), 1.0);
        drop(body);
        served
            .ended("GET /endless")
            .await
            .has("error.type", "cancelled")
            .has("http.response.status_code", 200);
        let size = served.capture.point("http.server.response.body.size");
        assert_eq!(size.sum, 5.0);
    }
}

#[tokio::test]
async fn a_handler_that_panics_returns_500_and_the_connection_stays_open() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let response = served.response("/panics").await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("expected by the test"), "{text}");
        served
            .ended("GET /panics")
            .await
            .has("error.type", "panic")
            .has("http.response.status_code", 500);
        // The connection is still open.
        assert_eq!(served.response("/entries/7").await.status(), 200);
    }
}

#[tokio::test]
async fn a_body_that_panics_aborts_the_response() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let body = served.response("/broken").await.into_body();
        body.collect().await.unwrap_err();
        served
            .ended("GET /broken")
            .await
            .has("error.type", "panic")
            .has("http.response.status_code", 200);
    }
}
