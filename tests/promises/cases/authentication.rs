//! Requests without an actor or without permission are refused, and recorded as denied.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::Redirect;

use super::attempts::assert_attempt;
use super::*;

#[tokio::test]
async fn a_403_of_an_authorisation_layer_is_recorded_as_denied() {
    async fn refuse(_: Request, _: Next) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(refuse))).await;
    let response = service.send("/entries", &Entry::new(1)).await;
    let record = assert_attempt(&service, &response, 403, Outcome::Denied).await;
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.actor.id, "ada", "the refused actor");
    assert_eq!(record.route.as_deref(), Some("/entries"));
}

#[tokio::test]
async fn a_request_without_an_actor_gets_401_and_is_recorded_as_denied() {
    let service = Service::start().await;
    let response = service.send_anonymously("/entries").await;
    let record = assert_attempt(&service, &response, 401, Outcome::Denied).await;
    assert_eq!(record.actor, Actor::anonymous());
    assert!(response.headers().contains_key("www-authenticate"));
    // An actor with an empty name is treated as absent.
    let url = format!("http://{}/entries", service.address);
    let response = service
        .client
        .post(url)
        .header("x-user", "")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn a_handler_with_an_optional_actor_accepts_anonymous_requests() {
    let service = Service::start().await;
    let response = service.send_anonymously("/sign-up").await;
    assert_eq!(response.status(), 201);
    assert_eq!(service.only_record().await.actor, Actor::anonymous());
}

#[tokio::test]
async fn an_anonymous_actor_in_the_extensions_is_treated_as_no_actor() {
    let service = Service::with(
        |b| b,
        |router| router.layer(axum::Extension(Actor::anonymous())),
    )
    .await;
    let response = service.send_anonymously("/entries").await;
    assert_attempt(&service, &response, 401, Outcome::Denied).await;
    assert_eq!(service.entries().await, 0);
    // It does not replace the actor from the service's own function.
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(service.record_of(&response).await.actor.id, "ada");
}

#[tokio::test]
async fn a_redirect_to_log_in_by_an_extractor_is_recorded_as_denied() {
    struct LoggedIn;

    impl<S: Sync> FromRequestParts<S> for LoggedIn {
        type Rejection = Redirect;

        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Redirect> {
            Err(Redirect::to("/log-in"))
        }
    }

    #[audited(action = "entry.archive")]
    async fn archive(tx: &mut Tx, _logged_in: LoggedIn) -> StatusCode {
        tx.details("reached", true);
        StatusCode::OK
    }
    let service = Service::start().await;
    let entries = Router::new()
        .route("/entries", routing::post(archive))
        .layer(service.audit.layer());
    let url = format!("http://{}/entries", serve(entries.into()).await);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let sent = client.build().unwrap().post(url).header("x-user", "ada");
    let response = sent.send().await.unwrap();
    assert_eq!(response.headers()["location"], "/log-in");
    assert_attempt(&service, &response, 303, Outcome::Denied).await;
    assert_eq!(service.audit.status().violations, 0);
}
