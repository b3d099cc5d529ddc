//! One readiness check, and what came of it.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::redact::redact;

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A named check.
#[derive(Clone)]
pub(super) struct Check {
    pub(super) name: Arc<str>,
    run: Arc<dyn Fn() -> Outcome + Send + Sync>,
}

/// What came of a check, without the error's text.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) name: Arc<str>,
    pub(super) passed: bool,
    pub(super) took: Duration,
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

    /// Runs it in a task of its own, where it may panic, and logs why it failed.
    pub(super) async fn run(self, within: Duration) -> Checked {
        let started = Instant::now();
        let run = Arc::clone(&self.run);
        let mut task = tokio::spawn(async move { run().await });
        let outcome = timeout(within, &mut task).await;
        let took = started.elapsed();
        let name = &self.name;
        match &outcome {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                let error = redact(error);
                tracing::warn!("the readiness check `{name}` failed: {error}");
            }
            // The panic's hook has told what it said.
            Ok(Err(_)) => tracing::warn!("the readiness check `{name}` panicked"),
            Err(_) => {
                task.abort();
                tracing::warn!("the readiness check `{name}` was stopped after {within:?}");
            }
        }
        Checked {
            passed: matches!(outcome, Ok(Ok(Ok(())))),
            name: self.name,
            took,
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Check").field(&self.name).finish()
    }
}
