use tokio::signal;

/// Until somebody wants the command to end. From this call on, not only when it is waited for, what
/// asks for that no longer ends the process by itself.
pub(crate) fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        Ok(async move {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                _ = hung_up.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async { signal::ctrl_c().await.unwrap_or_default() })
}
