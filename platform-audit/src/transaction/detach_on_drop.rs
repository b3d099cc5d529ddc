//! Work that is finished even when its future is dropped half-way.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

/// Runs `work` where it is polled, as any future. Dropped before its end, the rest of it runs on
/// a task of its own, so that a client that hangs up cannot cut it in two.
///
/// Each piece of work counts in `tasks` until it has ended, wherever it runs.
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
    /// Gone once it has ended.
    work: Option<BoxFuture<'static, T>>,
}

impl<T: Send + 'static> Future for DetachOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Away while it is polled: what panicked must not be polled again.
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
        // Without a runtime nothing could drive it: its connection closes, which rolls back.
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
