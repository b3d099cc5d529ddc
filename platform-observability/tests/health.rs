//! The responses of `/livez` and `/readyz`, over real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod captured_log;

use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use captured_log::CapturedLog;
use futures_util::future::join_all;
use platform_observability::Health;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

struct Server(String);

impl Server {
    async fn start(health: &Health) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, health.router()).into_future());
        Self(format!("http://{address}"))
    }

    /// The status and the body. Asserts what all responses have in common.
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("{}{path}", self.0)).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers()["content-type"],
            "application/health+json"
        );
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

/// The status of a check in a body.
fn status<'a>(body: &'a Value, check: &str) -> &'a str {
    let measured = &body["checks"][format!("{check}:responseTime")];
    assert_eq!(measured.as_array().unwrap().len(), 1);
    assert!(measured[0]["observedValue"].is_u64());
    assert_eq!(measured[0]["observedUnit"], "ms");
    measured[0]["status"].as_str().unwrap()
}

#[tokio::test]
async fn a_service_is_ready_if_all_checks_pass() {
    let server = Server::start(
        &Health::new()
            .check("postgres", async || Ok::<_, String>(()))
            .check("redis", async || Ok::<_, std::io::Error>(())),
    )
    .await;
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 200);
    assert_eq!(body["status"], "pass");
    assert_eq!(status(&body, "postgres"), "pass");
    assert_eq!(status(&body, "redis"), "pass");
    assert_eq!(
        server.get("/livez").await,
        (200, json!({ "status": "pass" }))
    );
}

#[tokio::test]
async fn a_check_can_borrow_from_its_closure() {
    let pool = Arc::new(Semaphore::new(1));
    let held = Arc::clone(&pool);
    let check = async move || held.acquire().await.map(drop);
    let server = Server::start(&Health::new().check("pool", check)).await;
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_failed_check_makes_the_service_unready_without_revealing_the_error() {
    let server = Server::start(
        &Health::new()
            .check("postgres", async || Err("hunter2 was not accepted"))
            .check("redis", async || Ok::<_, String>(())),
    )
    .await;
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(body["status"], "fail");
    assert_eq!(status(&body, "postgres"), "fail");
    assert_eq!(status(&body, "redis"), "pass");
    assert!(!body.to_string().contains("hunter2"), "{body}");
    // The service is still live.
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_failed_checks_error_is_logged_without_credentials() {
    let log = CapturedLog::of_process();
    let server = Server::start(
        &Health::new()
            .check("postgres", async || {
                Err("postgres://ledger:letmein@db refused")
            })
            .check("redis", pending::<Result<(), String>>)
            .check_timeout(Duration::from_millis(10)),
    )
    .await;
    server.get("/readyz").await;
    let logged = log.text();
    assert!(
        logged.contains("WARN platform_observability::health"),
        "{logged}"
    );
    assert!(
        logged.contains("the readiness check `postgres` failed: postgres://…@db refused"),
        "{logged}"
    );
    assert!(
        logged.contains("the readiness check `redis` was aborted after 10ms"),
        "{logged}"
    );
    assert!(!logged.contains("letmein"), "{logged}");
}

#[tokio::test]
async fn a_check_that_exceeds_its_timeout_fails() {
    let server = Server::start(
        &Health::new()
            .check("postgres", pending::<Result<(), String>>)
            .check_timeout(Duration::from_millis(10)),
    )
    .await;
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(status(&body, "postgres"), "fail");
}

#[tokio::test]
async fn a_check_that_panics_fails() {
    let server = Server::start(
        &Health::new()
            .check("postgres", async || -> Result<(), String> {
                panic!("hunter2")
            })
            .check("redis", || -> std::future::Ready<Result<(), String>> {
                panic!("before it returns a future")
            }),
    )
    .await;
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(status(&body, "postgres"), "fail");
    assert_eq!(status(&body, "redis"), "fail");
    assert!(!body.to_string().contains("hunter2"), "{body}");
}

#[tokio::test]
async fn checks_with_the_same_name_are_both_reported() {
    let server = Server::start(
        &Health::new()
            .check("postgres", async || Err("away"))
            .check("postgres", async || Ok::<_, String>(())),
    )
    .await;
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 503);
    let results = body["checks"]["postgres:responseTime"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{body}");
}

#[tokio::test]
async fn checks_run_concurrently() {
    // Each waits for the other.
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let other = Arc::clone(&barrier);
    let server = Server::start(
        &Health::new()
            .check("a", async move || {
                barrier.wait().await;
                Ok::<_, String>(())
            })
            .check("b", async move || {
                other.wait().await;
                Ok::<_, String>(())
            })
            .check_timeout(Duration::from_secs(60)),
    )
    .await;
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn concurrent_requests_share_one_run_of_the_checks() {
    const REQUESTS: usize = 50;
    let runs = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(Semaphore::new(0));
    let (counted, enough) = (Arc::clone(&runs), Arc::clone(&arrived));
    let health = Health::new()
        .check("postgres", async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let all = u32::try_from(REQUESTS).unwrap();
            // The check ends only when all requests have arrived.
            enough.acquire_many(all).await.map(drop)
        })
        .check_timeout(Duration::from_secs(60));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrives = axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            let arrived = Arc::clone(&arrived);
            async move {
                let mut response = Box::pin(next.run(request));
                // The first poll starts a run of the checks, or joins the current one.
                let ready = futures_util::poll!(&mut response);
                arrived.add_permits(1);
                match ready {
                    std::task::Poll::Ready(response) => response,
                    std::task::Poll::Pending => response.await,
                }
            }
        },
    );
    let app = health.router().layer(arrives);
    tokio::spawn(axum::serve(listener, app).into_future());
    let server = Server(format!("http://{address}"));

    let responses = join_all((0..REQUESTS).map(|_| server.get("/readyz"))).await;
    assert!(responses.iter().all(|(code, _)| *code == 200));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_run_continues_when_the_client_disconnects() {
    let (events, mut received) = tokio::sync::mpsc::unbounded_channel();
    let end = Arc::new(Semaphore::new(0));
    let may_end = Arc::clone(&end);
    let server = Server::start(
        &Health::new()
            .check("postgres", async move || {
                let _ = events.send("started");
                let end = may_end.acquire().await.map(drop);
                let _ = events.send("ended");
                end
            })
            .check_timeout(Duration::from_secs(60)),
    )
    .await;
    let url = format!("{}/readyz", server.0);
    let request = tokio::spawn(reqwest::get(url));
    assert_eq!(received.recv().await, Some("started"));
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    // When another connection's response arrives, the server has noticed the disconnect.
    server.get("/livez").await;
    end.add_permits(1);
    assert_eq!(received.recv().await, Some("ended"));
}

#[tokio::test]
async fn readiness_can_be_turned_off_and_on() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let health = Health::new().check("postgres", async move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(())
    });
    let server = Server::start(&health).await;
    let readiness = health.readiness();
    readiness.set_ready(false);
    assert!(!health.readiness().is_ready());
    let (code, body) = server.get("/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(body["status"], "fail");
    assert_eq!(runs.load(Ordering::SeqCst), 0, "no check is run");
    assert_eq!(server.get("/livez").await.0, 200);
    readiness.set_ready(true);
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn readiness_that_is_turned_off_during_a_run_takes_effect_at_its_end() {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let end = Arc::new(Semaphore::new(0));
    let may_end = Arc::clone(&end);
    let health = Health::new()
        .check("postgres", async move || {
            let _ = started.send(());
            may_end.acquire().await.map(drop)
        })
        .check_timeout(Duration::from_secs(60));
    let server = Server::start(&health).await;
    let request = tokio::spawn(async move { server.get("/readyz").await.0 });
    starts.recv().await.unwrap();
    health.readiness().set_ready(false);
    end.add_permits(1);
    assert_eq!(request.await.unwrap(), 503);
}

#[tokio::test]
async fn head_has_no_body_and_other_methods_are_not_allowed() {
    let server = Server::start(&Health::new().check("postgres", async || Err("away"))).await;
    let client = reqwest::Client::new();
    for (path, code) in [("/livez", 200), ("/readyz", 503)] {
        let url = format!("{}{path}", server.0);
        let response = client.head(&url).send().await.unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.bytes().await.unwrap().is_empty());
        let response = client.post(&url).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
