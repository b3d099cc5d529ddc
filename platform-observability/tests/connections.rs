//! Over real connections of HTTP/1.1 and HTTP/2: what was spoken, and how a request may end.

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

/// Long enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A server with its client, and what the server recorded.
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
            let panics =
                stream::poll_fn(|_| -> std::task::Poll<Option<_>> { panic!("as the test wants") });
            // What comes before arrives before, as the connection is then asked for more.
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
                get(async || -> () { panic!("as the test wants") }),
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

    async fn answer(&self, path: &str) -> Response<Incoming> {
        self.request(path).await.unwrap()
    }

    fn active(&self) -> f64 {
        let points = self.capture.points("http.server.active_requests");
        points.iter().map(|point| point.sum).sum()
    }

    /// The one span of the server's, once it has ended; no request is active then.
    async fn ended(&self, name: &str) -> Span {
        let began = Instant::now();
        loop {
            let ended = self.capture.spans();
            if let Some(span) = ended.into_iter().find(|span| span.0.name == name) {
                assert_eq!(self.active(), 0.0);
                return span;
            }
            assert!(began.elapsed() < PATIENCE, "{name} does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_active(&self) {
        let began = Instant::now();
        while self.active() != 1.0 {
            assert!(began.elapsed() < PATIENCE, "no request comes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn spoken(version: Version) -> &'static str {
    if version == Version::HTTP_2 {
        "2"
    } else {
        "1.1"
    }
}

#[tokio::test]
async fn the_version_is_the_one_that_was_spoken_and_a_whole_answer_no_error() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let answer = served.answer("/entries/7").await;
        assert_eq!(answer.version(), version);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
        served
            .ended("GET /entries/{id}")
            .await
            .has("network.protocol.version", spoken(version))
            .has("url.scheme", "http")
            .has("server.address", "127.0.0.1")
            .has("server.port", i64::from(served.address.port()))
            .has("http.response.status_code", 200)
            .lacks("error.type");
        served
            .capture
            .point("http.server.request.duration")
            .has("network.protocol.version", spoken(version))
            .lacks("error.type");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_response_cancels() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let asked = tokio::spawn(served.request("/never"));
        served.until_active().await;
        asked.abort();
        served
            .ended("GET /never")
            .await
            .has("error.type", "cancelled")
            .has("network.protocol.version", spoken(version))
            .lacks("http.response.status_code");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_during_the_response_cancels() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let mut body = served.answer("/endless").await.into_body();
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
async fn a_handler_that_panics_is_answered() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let answer = served.answer("/panics").await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("as the test wants"), "{text}");
        served
            .ended("GET /panics")
            .await
            .has("error.type", "panic")
            .has("http.response.status_code", 500);
        // The connection serves on.
        assert_eq!(served.answer("/entries/7").await.status(), 200);
    }
}

#[tokio::test]
async fn a_body_that_panics_is_never_taken_for_whole() {
    for version in VERSIONS {
        let served = Served::start(version).await;
        let body = served.answer("/broken").await.into_body();
        body.collect().await.unwrap_err();
        served
            .ended("GET /broken")
            .await
            .has("error.type", "panic")
            .has("http.response.status_code", 200);
    }
}
