//! The layer does not record the routes. Their responses are tested in tests/health.rs.

use std::future::IntoFuture;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Health;
use crate::testing::Capture;

#[tokio::test]
async fn probes_merged_after_the_layer_are_neither_traced_nor_measured() {
    let capture = Capture::start();
    let health = Health::new().check("nothing", async || Ok::<(), String>(()));
    let app: Router = Router::new()
        .route("/accounts", get(async || "hello"))
        .layer(capture.layer())
        .merge(health.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    for path in ["livez", "accounts", "readyz"] {
        let url = format!("http://{address}/{path}");
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap();
    }
    let spans = capture.spans();
    let names: Vec<_> = spans.iter().map(|span| span.0.name.as_ref()).collect();
    assert_eq!(names, ["GET /accounts"]);
    assert_eq!(capture.point("http.server.request.duration").count, 1);
}
