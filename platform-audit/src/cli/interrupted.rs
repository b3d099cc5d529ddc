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
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let Self([interrupted, terminated, hung_up]) = self;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
    }
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
