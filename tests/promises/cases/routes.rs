//! The action and the route of an attempt at a nested or unknown route.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};

use super::attempts::assert_attempt;
use super::*;

#[tokio::test]
async fn a_rejected_request_to_a_nested_route_is_recorded_with_its_action() {
    async fn refuse(_: Request, _: Next) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Service::with(
        |b| b,
        |router| Router::new().nest("/v1", router).layer(from_fn(refuse)),
    )
    .await;
    let response = service.send("/v1/entries", &Entry::new(1)).await;
    let record = assert_attempt(&service, &response, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.path.as_deref(), Some("/v1/entries"));
}

/// A handler that is not called, because a layer responds first.
#[audited(action = "entry.archive")]
async fn archive(tx: &mut Tx) -> StatusCode {
    tx.details("reached", true);
    StatusCode::OK
}

async fn refuse(_: Request, _: Next) -> StatusCode {
    StatusCode::FORBIDDEN
}

#[tokio::test]
async fn a_nested_audit_layer_records_the_action_of_a_nested_route() {
    let service = Service::start().await;
    let inner = Router::new()
        .route("/entries", routing::post(archive))
        .layer(from_fn(refuse))
        .layer(service.audit.layer());
    let outer = Router::new()
        .route("/entries", routing::post(super::create))
        .nest("/archive", inner);
    let app = axum::Router::new().nest("/v1", outer.into());
    let address = serve(app).await;
    let url = format!("http://{address}/v1/archive/entries");
    let sent = service.client.post(url).header("x-user", "ada");
    let response = sent.send().await.unwrap();
    let record = assert_attempt(&service, &response, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.archive");
    assert_eq!(record.route.as_deref(), Some("/v1/archive/entries"));
}

#[tokio::test]
async fn the_recorded_route_is_complete_wherever_its_router_is_mounted() {
    let refusing = |path: &str| {
        let router = Router::new().route(path, routing::post(archive));
        router.layer(from_fn(refuse))
    };
    let other = || Router::new().route("/entries", routing::post(super::create));
    for (router, path) in [
        (axum::Router::new().nest("/v1", refusing("/").into()), "/v1"),
        (
            axum::Router::new().nest("/v1/", refusing("/").into()),
            "/v1/",
        ),
        (other().nest("/v1/", refusing("/")).into(), "/v1/"),
        (
            other().nest("/v1/", refusing("/archive")).into(),
            "/v1/archive",
        ),
        (
            other()
                .merge_axum(axum::Router::from(refusing("/archive")))
                .into(),
            "/archive",
        ),
        (
            other()
                .merge_axum(axum::Router::new().nest("/v1", refusing("/").into()))
                .into(),
            "/v1",
        ),
    ] {
        let service = Service::start().await;
        let address = serve(router.layer(service.audit.layer())).await;
        let url = format!("http://{address}{path}");
        let sent = service.client.post(url).header("x-user", "ada");
        let response = sent.send().await.unwrap();
        let record = assert_attempt(&service, &response, 403, Outcome::Denied).await;
        assert_eq!(record.action, "entry.archive");
        assert_eq!(record.route.as_deref(), Some(path));
    }
}

#[tokio::test]
async fn an_unknown_route_or_method_writes_no_record() {
    let service = Service::start().await;
    assert_eq!(service.post("/nowhere").send().await.unwrap().status(), 404);
    assert_eq!(
        service
            .request(reqwest::Method::PATCH, "/entries")
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
    assert_eq!(service.records().await, 0);
    assert_eq!(service.audit.status().violations, 0);
}

/// As some layers respond in order not to reveal what exists.
#[tokio::test]
async fn a_404_or_405_of_a_layer_writes_no_record() {
    for hidden in [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED] {
        let hide = from_fn(move |_: Request, _: Next| async move { hidden });
        let service = Service::with(|b| b, |router| router.layer(hide)).await;
        let response = service.send("/entries", &Entry::new(1)).await;
        assert_eq!(response.status(), hidden);
        assert_eq!(response.headers().get("audit-record-id"), None);
        assert_eq!(service.records().await, 0);
        assert_eq!(service.audit.status().violations, 0);
    }
}
