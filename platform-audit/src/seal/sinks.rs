//! Publishes checkpoints to sinks, beside sealing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::error::SealError;
use super::options::CheckpointSink;

/// How long a sink may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest and the longest time until the next attempt after an error.
const MIN_BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// When to try again after an error.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pause: Option<(Instant, Duration)>,
}

impl Backoff {
    pub(super) fn is_over(&self) -> bool {
        self.pause.is_none_or(|(until, _)| Instant::now() >= until)
    }

    pub(super) fn failed(&mut self) {
        let pause = self.pause.map_or(MIN_BACKOFF, |(_, pause)| pause * 2);
        let pause = pause.min(MAX_BACKOFF);
        self.pause = Some((Instant::now() + pause, pause));
    }

    pub(super) fn succeeded(&mut self) {
        self.pause = None;
    }
}

type Published = Result<(), String>;

/// One sink, and what it has.
#[derive(Debug)]
pub(super) struct SinkState {
    sink: Arc<dyn CheckpointSink>,
    /// The last note that it accepted.
    accepted: Option<Arc<str>>,
    running: Option<(Arc<str>, JoinHandle<Published>)>,
    backoff: Backoff,
}

impl SinkState {
    pub(super) fn new(sink: Arc<dyn CheckpointSink>) -> Self {
        Self {
            sink,
            accepted: None,
            running: None,
            backoff: Backoff::default(),
        }
    }

    /// Publishes `note` unless the sink has it, or is busy, or failed a short time ago: then a
    /// later call does. Returns why the sink did not accept a checkpoint.
    ///
    /// It does not wait for the sink unless `wait` is set, so no sink delays sealing.
    pub(super) async fn publish(&mut self, note: &Arc<str>, wait: bool) -> Result<(), SealError> {
        let is_finished = self.running.as_ref().is_some_and(|it| it.1.is_finished());
        if wait || is_finished {
            let earlier = self.finish().await;
            if !wait {
                earlier?;
            }
        }
        let is_due = self.accepted.as_ref() != Some(note) && (wait || self.backoff.is_over());
        if self.running.is_some() || !is_due {
            return Ok(());
        }
        let (sink, text) = (Arc::clone(&self.sink), Arc::clone(note));
        let task = tokio::spawn(async move {
            match tokio::time::timeout(TIMEOUT, sink.publish(&text)).await {
                Ok(published) => published.map_err(|error| format!("{sink:?}: {error}")),
                Err(_) => Err(format!("{sink:?} did not respond within {TIMEOUT:?}")),
            }
        });
        self.running = Some((Arc::clone(note), task));
        match wait {
            true => self.finish().await,
            false => Ok(()),
        }
    }

    async fn finish(&mut self) -> Result<(), SealError> {
        let Some((note, task)) = self.running.take() else {
            return Ok(());
        };
        let published = task.await.unwrap_or_else(|error| Err(error.to_string()));
        match published {
            Ok(()) => {
                self.accepted = Some(note);
                self.backoff.succeeded();
                Ok(())
            }
            Err(error) => {
                self.backoff.failed();
                Err(SealError::Sink(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::SinkState;
    use crate::seal::CheckpointSink;

    type Result = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// Fails `failures` times, and then stores what it gets.
    #[derive(Debug, Default)]
    struct Unreliable {
        failures: AtomicUsize,
        stored: Mutex<Vec<String>>,
    }

    impl CheckpointSink for Arc<Unreliable> {
        fn publish<'a>(&'a self, checkpoint: &'a str) -> BoxFuture<'a, Result> {
            let fails = |left: usize| left.checked_sub(1);
            let failed = self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails);
            async move {
                if failed.is_ok() {
                    return Err("no space".into());
                }
                self.stored.lock().unwrap().push(checkpoint.to_owned());
                Ok(())
            }
            .boxed()
        }
    }

    #[derive(Debug)]
    struct Hanging;

    impl CheckpointSink for Hanging {
        fn publish<'a>(&'a self, _checkpoint: &'a str) -> BoxFuture<'a, Result> {
            std::future::pending().boxed()
        }
    }

    #[tokio::test]
    async fn a_sink_that_failed_gets_the_newest_checkpoint_later_and_each_one_once() {
        let sink = Arc::new(Unreliable::default());
        sink.failures.store(1, Ordering::SeqCst);
        let mut state = SinkState::new(Arc::new(Arc::clone(&sink)));
        let failed = state.publish(&"old".into(), true).await.unwrap_err();
        assert!(failed.to_string().contains("no space"), "{failed}");
        // Too early to try again.
        state.publish(&"new".into(), false).await.unwrap();
        assert!(state.running.is_none());
        state.publish(&"new".into(), true).await.unwrap();
        state.publish(&"new".into(), true).await.unwrap();
        assert_eq!(*sink.stored.lock().unwrap(), ["new"]);
    }

    #[tokio::test]
    async fn a_sink_that_hangs_delays_nothing() {
        let mut state = SinkState::new(Arc::new(Hanging));
        for note in ["old", "new"] {
            let published = state.publish(&note.into(), false).now_or_never();
            published.expect("it does not wait").unwrap();
        }
    }
}
