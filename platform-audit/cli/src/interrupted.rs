use tokio::sync::oneshot;

/// As a shell tells that Ctrl-C ended a command.
const AS_BY_SIGINT: i32 = 128 + 2;

/// Until somebody wants the command to end. From this call on, not only when it is waited for, what
/// asks for that no longer ends the process by itself; asked twice, it ends at once.
pub(crate) fn interrupted() -> anyhow::Result<impl Future<Output = ()> + Unpin> {
    let mut signals = Signals::new()?;
    let (interrupt, interrupted) = oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        let _nobody_waits = interrupt.send(());
        // It may hang, such as on a pipe that nobody empties.
        signals.next().await;
        std::process::exit(AS_BY_SIGINT);
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
        let heard = kinds.into_iter().filter(|kind| !is_ignored(*kind));
        Ok(Self(heard.map(signal).collect::<std::io::Result<_>>()?))
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

/// Whether whoever started the command wants it to go on all the same, as `nohup` does. Known on
/// Linux, elsewhere taken for not so.
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
