//! Cancellation safety: work that continues on its own task if its future is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

/// Runs `work` in the current task. If the returned future is dropped before it completes, for
/// example because the client disconnected, the rest of `work` runs on a new task.
///
/// `tasks` tracks `work` until it has completed, in either case.
pub(crate) fn detach_on_drop<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> DetachOnDrop<T> {
    DetachOnDrop {
        work: Some(Box::pin(tasks.track_future(work))),
    }
}

/// The future of [`detach_on_drop`].
pub(crate) struct DetachOnDrop<T: Send + 'static> {
    /// `None` once it has completed or panicked.
    work: Option<BoxFuture<'static, T>>,
}

impl<T: Send + 'static> Future for DetachOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out while it is polled, because a future that panicked must not be polled again.
        let Some(mut work) = self.work.take() else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for DetachOnDrop<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Without a runtime, `work` is dropped: its connection is closed, which rolls back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(work.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::detach_on_drop;

    #[tokio::test]
    async fn work_that_is_dropped_half_way_is_finished() {
        let tasks = TaskTracker::new();
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let mut work = Box::pin(detach_on_drop(&tasks, {
            let (go_on, done) = (Arc::clone(&go_on), Arc::clone(&done));
            async move {
                go_on.notified().await;
                done.store(true, Ordering::SeqCst);
            }
        }));
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        go_on.notify_one();
        tasks.close();
        tasks.wait().await;
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_polled_again() {
        let tasks = TaskTracker::new();
        let mut work = Box::pin(detach_on_drop(&tasks, async { panic!("as it should") }));
        let polled = std::panic::AssertUnwindSafe(&mut work).catch_unwind().await;
        assert!(polled.is_err());
        drop(work);
        tasks.close();
        tasks.wait().await;
    }
}
