use tokio::sync::oneshot;

/// The exit status by which shells report that SIGINT ended a command.
const EXIT_SIGINT: i32 = 128 + 2;

/// Resolves when the command is asked to stop. Installs its signal handlers immediately, so from
/// this call on the first signal does not end the process; a second one does.
pub(crate) fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()> + Unpin> {
    let mut signals = Signals::new()?;
    let (interrupt, interrupted) = oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        let _receiver_dropped = interrupt.send(());
        // The command may be blocked, for example on a full pipe.
        signals.next().await;
        std::process::exit(EXIT_SIGINT);
    });
    Ok(Box::pin(async {
        interrupted.await.unwrap_or_default();
    }))
}

#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let handled = kinds.into_iter().filter(|kind| !is_ignored(*kind));
        Ok(Self(handled.map(signal).collect::<std::io::Result<_>>()?))
    }

    async fn next(&mut self) {
        let signals = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        let signals: Vec<_> = signals.collect();
        if signals.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(signals).await;
    }
}

/// Whether the parent process ignores this signal, as `nohup` does. Detected on Linux only.
#[cfg(unix)]
fn is_ignored(signal: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or_default() >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        tokio::signal::ctrl_c().await.unwrap_or_default();
    }
}
