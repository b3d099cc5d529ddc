use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::check::Check;
use super::readiness::Readiness;
use super::report::Report;

/// The default timeout of each check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a report is reused, so that frequent probes do not run the checks each time.
const MAX_AGE: Duration = Duration::from_secs(1);

/// `/livez` and `/readyz` for the service's router.
///
/// - **`/livez`** responds with 200 while the process responds at all. It runs no check: restarting
///   a service because its database is unavailable would make things worse.
/// - **`/readyz`** responds with 200 if the service is ready for requests, else with 503. It runs
///   the checks concurrently. Requests that arrive meanwhile, or within a second after, share the
///   result.
///
/// The responses are `application/health+json` (draft-inadarei-api-health-check). They contain the
/// result of each check and its duration in milliseconds, but not the error: that is logged as a
/// warning, with users, passwords and queries removed from URLs.
///
/// ```
/// use axum::{Router, routing::get};
/// use platform_observability::{Health, Telemetry};
///
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn ping(&self) -> Result<(), std::io::Error> { Ok(()) } }
/// # fn example(telemetry: Telemetry, pool: Pool) {
/// let health = Health::new().check("postgres", async move || pool.ping().await);
/// let app: Router = Router::new()
///     .route("/", get(async || "hello"))
///     .layer(telemetry.layer())
///     .merge(health.router()); // after the layer, so that probes are neither traced nor measured
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "merge its router into the service's"]
pub struct Health {
    checks: Vec<Check>,
    timeout: Duration,
    readiness: Readiness,
}

impl Health {
    /// Without checks, the service is ready until [`Readiness`] is turned off.
    pub fn new() -> Self {
        Self {
            checks: Vec::new(),
            timeout: CHECK_TIMEOUT,
            readiness: Readiness::new(),
        }
    }

    /// Adds a check of something that the service requires, such as its database.
    ///
    /// The name is public, as the response contains it. A check fails if it returns an error,
    /// panics, or exceeds the [timeout](Self::check_timeout). The closure is cloned for each run.
    pub fn check<F, R, E>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: FnOnce() -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.checks.push(Check::new(name.into(), check));
        self
    }

    /// How long each check may take; by default 2 seconds. A check that takes longer is
    /// dropped, and fails.
    pub fn check_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The switch that turns `/readyz` off.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The routes. Merge them after [`Telemetry::layer`](crate::Telemetry::layer) was added, so
    /// that probes are not recorded.
    pub fn router<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let probe = Arc::new(Probe {
            health: self.clone(),
            latest: Mutex::new(None),
        });
        Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route_layer(map_response(set_no_store))
            .with_state(probe)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of the routes.
#[derive(Debug)]
struct Probe {
    health: Health,
    /// Locked while the checks run.
    latest: Mutex<Option<Arc<Report>>>,
}

impl Probe {
    /// The report of a current or recent run, else of a new one. `None` if the runtime is shutting
    /// down.
    async fn report(self: Arc<Self>) -> Option<Arc<Report>> {
        // In a task of its own, so that a disconnecting client does not cancel it for the others.
        let run = tokio::spawn(async move {
            let mut latest = self.latest.lock().await;
            let is_recent = |report: &Arc<Report>| report.age() < MAX_AGE;
            if !latest.as_ref().is_some_and(is_recent) {
                let health = self.health.clone();
                let report = Report::run(health.checks, health.timeout).await;
                *latest = Some(Arc::new(report));
            }
            latest.clone()
        });
        run.await.ok()?
    }
}

async fn livez() -> Response {
    response(StatusCode::OK, &json!({ "status": "pass" }))
}

async fn readyz(State(probe): State<Arc<Probe>>) -> Response {
    let readiness = probe.health.readiness.clone();
    if readiness.is_ready()
        && let Some(report) = probe.report().await
        && readiness.is_ready()
    {
        let status = match report.passed() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        return response(status, &report.to_json());
    }
    let body = json!({ "status": "fail", "notes": ["the service does not accept requests now"] });
    response(StatusCode::SERVICE_UNAVAILABLE, &body)
}

fn response(status: StatusCode, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/health+json")];
    (status, json, body.to_string()).into_response()
}

async fn set_no_store(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
