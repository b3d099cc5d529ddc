//! One readiness check.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::redaction::redact_urls;

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A named check.
#[derive(Clone)]
pub(super) struct Check {
    pub(super) name: Arc<str>,
    run: Arc<dyn Fn() -> Outcome + Send + Sync>,
}

/// The result of a check, without the error's text.
#[derive(Clone, Debug)]
pub(super) struct CheckResult {
    pub(super) name: Arc<str>,
    pub(super) passed: bool,
    pub(super) duration: Duration,
}

impl Check {
    pub(super) fn new<F, R, E>(name: String, check: F) -> Self
    where
        F: FnOnce() -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let run = move || -> Outcome {
            let check = check.clone();
            Box::pin(async move { check().await.map_err(|error| format!("{error:#}")) })
        };
        Self {
            name: name.into(),
            run: Arc::new(run),
        }
    }

    /// Runs the check in a task of its own, which isolates a panic, and logs a failure.
    pub(super) async fn run(self, limit: Duration) -> CheckResult {
        let started = Instant::now();
        let run = Arc::clone(&self.run);
        let mut task = tokio::spawn(async move { run().await });
        let outcome = timeout(limit, &mut task).await;
        let duration = started.elapsed();
        let name = &self.name;
        match &outcome {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                let error = redact_urls(error);
                tracing::warn!("the readiness check `{name}` failed: {error}");
            }
            // The panic hook has logged the location.
            Ok(Err(_)) => tracing::warn!("the readiness check `{name}` panicked"),
            Err(_) => {
                task.abort();
                tracing::warn!("the readiness check `{name}` was aborted after {limit:?}");
            }
        }
        CheckResult {
            passed: matches!(outcome, Ok(Ok(Ok(())))),
            name: self.name,
            duration,
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Check").field(&self.name).finish()
    }
}
