//! Detects an operation inside another one of the same store. The inner operation would wait for a
//! connection while the outer one keeps its own, so many of them could deadlock.

use std::sync::Arc;

use crate::store::{AuditDatabase, Store};

tokio::task_local! {
    /// The addresses of the stores whose operations are running in this task, outermost first.
    static RUNNING: Vec<usize>;
}

/// Runs `body` as the body of an operation of `store`.
pub(crate) async fn inside<DB: AuditDatabase, F: Future>(
    store: &Arc<Store<DB>>,
    body: F,
) -> F::Output {
    let mut running = RUNNING.try_with(Vec::clone).unwrap_or_default();
    running.push(address(store));
    RUNNING.scope(running, body).await
}

/// Whether the current task is running the body of an operation of `store`.
pub(crate) fn is_nested<DB: AuditDatabase>(store: &Arc<Store<DB>>) -> bool {
    RUNNING
        .try_with(|running| running.contains(&address(store)))
        .unwrap_or(false)
}

fn address<DB: AuditDatabase>(store: &Arc<Store<DB>>) -> usize {
    Arc::as_ptr(store).addr()
}
