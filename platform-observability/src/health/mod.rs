//! Routes that tell an orchestrator or a load balancer how the service is.

mod check;
mod readiness;
mod redact;
mod report;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::watch;

use check::Check;
pub use readiness::Readiness;
use report::Report;

/// How long a check may take, unless the service says otherwise.
const WITHIN: Duration = Duration::from_secs(2);

/// For how long an outcome stands, so that many who ask do not run the checks as many times.
const FRESH: Duration = Duration::from_secs(1);

/// `/livez` and `/readyz` for the service's router.
///
/// - **`/livez`**: 200 while the process answers at all. It runs no check: whoever restarts a
///   service because its database is away makes things worse.
/// - **`/readyz`**: 200 if the service wants requests, else 503. It runs the checks, all at once.
///   Requests that come while they run share the outcome, and so do those of the second after.
///
/// The answers are `application/health+json` (draft-inadarei-api-health-check) and say of each
/// check whether it passed and how many milliseconds it took, never why it failed: that is logged
/// as a warning, where URLs are shown without user, password and query.
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
///     .merge(health.router()); // after the layer: probes are neither traced nor measured
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "add its router to the service's"]
pub struct Health {
    checks: Vec<Check>,
    within: Duration,
    readiness: Readiness,
}

impl Health {
    /// Health without a check: ready until [`Readiness`] is turned off.
    pub fn new() -> Self {
        Self {
            checks: Vec::new(),
            within: WITHIN,
            readiness: Readiness::new(),
        }
    }

    /// Adds a check of what the service cannot do without, such as its database.
    ///
    /// The name is public: it stands in the answer. A check that returns an error, panics, or does
    /// not end [in time](Self::check_within) has failed. The closure is cloned for each run.
    pub fn check<F, R, E>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: FnOnce() -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.checks.push(Check::new(name.into(), check));
        self
    }

    /// How long each check may take; by default 2 seconds. It is dropped after that.
    pub fn check_within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// The switch of these routes.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The routes. Merge them after [`Telemetry::layer`](crate::Telemetry::layer) was added, which
    /// then does not see them.
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
            .route_layer(map_response(not_stored))
            .with_state(probe)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// What the requests of a router share.
#[derive(Debug)]
struct Probe {
    health: Health,
    latest: Mutex<Option<Run>>,
}

/// A run of the checks; None until it has ended.
type Run = watch::Receiver<Option<Arc<Report>>>;

impl Probe {
    /// The report of a run that is under way or fresh, else of a new one. None if the runtime
    /// stops.
    async fn report(&self) -> Option<Arc<Report>> {
        let mut run = self.join();
        let report = run.wait_for(Option::is_some).await.ok()?;
        report.clone()
    }

    fn join(&self) -> Run {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = latest.as_ref().filter(|run| stands(run)) {
            return run.clone();
        }
        let (done, run) = watch::channel(None);
        let Health { checks, within, .. } = self.health.clone();
        // In a task of its own: whoever asks may hang up, and the others would wait in vain.
        tokio::spawn(async move {
            let report = Report::of(checks, within).await;
            done.send_replace(Some(Arc::new(report)));
        });
        latest.insert(run).clone()
    }
}

fn stands(run: &Run) -> bool {
    match &*run.borrow() {
        Some(report) => report.age() < FRESH,
        // Without a sender it never will have ended.
        None => run.has_changed().is_ok(),
    }
}

async fn livez() -> Response {
    answer(StatusCode::OK, &json!({ "status": "pass" }))
}

async fn readyz(State(probe): State<Arc<Probe>>) -> Response {
    let readiness = &probe.health.readiness;
    if readiness.is_ready()
        && let Some(report) = probe.report().await
        && readiness.is_ready()
    {
        let status = match report.passed() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        return answer(status, &report.to_json());
    }
    let body = json!({ "status": "fail", "notes": ["the service takes no requests now"] });
    answer(StatusCode::SERVICE_UNAVAILABLE, &body)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/health+json")];
    (status, json, body.to_string()).into_response()
}

async fn not_stored(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
