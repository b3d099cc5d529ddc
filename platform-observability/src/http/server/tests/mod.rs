mod attributes;
mod context;
mod ending;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::Sampler;
use tower::ServiceExt;
use tower_layer::Layer as _;

use super::{ForwardedBy, HttpLayer, SamplingHint};
use crate::http::{HttpClientLayer, KnownMethods};
use crate::messaging;
use crate::propagation::Propagator;
use crate::testing::{Capture, Point, Span};

const DURATION: &str = "http.server.request.duration";
const ACTIVE: &str = "http.server.active_requests";
const REQUEST_SIZE: &str = "http.server.request.body.size";
const RESPONSE_SIZE: &str = "http.server.response.body.size";

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Sends `request` through `layer`, and reads the whole response.
async fn send(layer: HttpLayer, router: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.layer(layer).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, uri: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "ledger.example:8443")
        .body(Body::empty())
        .unwrap()
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn only_span(capture: &Capture) -> Span {
    let mut spans = capture.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

fn duration(capture: &Capture) -> Point {
    let point = capture.point(DURATION);
    assert_eq!(point.count, 1);
    assert_eq!(
        point.bounds.len(),
        14,
        "the boundaries that the conventions advise"
    );
    point
}

/// How many requests are active, over all attributes.
fn active(capture: &Capture) -> f64 {
    capture.points(ACTIVE).iter().map(|point| point.sum).sum()
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}
