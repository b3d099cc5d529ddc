//! The router's catalogue contains every state-changing route with its action or exemption.

use serde_json::json;

use super::*;

#[test]
fn the_catalogue_lists_every_state_changing_route() {
    let router: Router<Shared> = Router::new().nest("/v1", routes());
    assert_eq!(
        serde_json::to_value(router.catalogue()).unwrap(),
        json!([
            {"method": "POST", "path": "/v1/entries", "action": "entry.create"},
            {"method": "PUT", "path": "/v1/entries/{id}", "action": "entry.update"},
            {"method": "DELETE", "path": "/v1/entries/{id}", "action": "entry.delete"},
            {"method": "POST", "path": "/v1/import", "action": "entry.import"},
            {"method": "POST", "path": "/v1/touch", "action": "entry.touch"},
            {"method": "POST", "path": "/v1/fail/{status}", "action": "entry.fail"},
            {"method": "POST", "path": "/v1/panic", "action": "entry.panic"},
            {"method": "POST", "path": "/v1/wait", "action": "entry.wait"},
            {"method": "POST", "path": "/v1/sign-up", "action": "user.sign_up"},
            {"method": "POST", "path": "/v1/preview", "exempt": "computes, and stores nothing"},
        ])
    );
}

#[test]
fn any_and_on_are_listed_by_the_methods_that_they_accept() {
    use axum::routing::MethodFilter;
    let router: Router<Shared> = Router::new().route("/", routing::any(touch)).route(
        "/both",
        routing::on(MethodFilter::PUT.or(MethodFilter::PATCH), touch),
    );
    let entries: Vec<_> = router
        .catalogue()
        .iter()
        .map(|entry| (entry.method.as_str(), entry.path.as_str()))
        .collect();
    assert_eq!(entries, [("*", "/"), ("PATCH", "/both"), ("PUT", "/both")]);
    let found = router
        .catalogue()
        .find(&axum::http::Method::PUT, "/")
        .unwrap();
    assert_eq!(found.action(), Some("entry.touch"));
}
