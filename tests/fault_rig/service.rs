//! The service as a separate process, which can be killed and stopped, and whose clock can be
//! shifted.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::published::{KEY, PUBLISHED, Published};

/// The argument with which the rig starts itself as the service.
pub(crate) const SERVE: &str = "--serve";
pub(crate) const SERVE_UNGUARDED: &str = "--serve-unguarded";

pub(crate) struct Service {
    url: String,
    log: Published,
    guarded: bool,
    child: Option<Child>,
    address: Address,
    clock: Option<Clock>,
}

/// The service's address, which changes when it is restarted.
pub(crate) type Address = Arc<Mutex<String>>;

/// Shifts the clock of the process: the library libfaketime, and the folder of the file with the
/// offset, which it reads.
struct Clock {
    faketime: PathBuf,
    folder: TempDir,
}

impl Clock {
    fn find() -> Option<Self> {
        let faketime = ["/usr/lib", "/usr/local/lib"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .flat_map(|folder| {
                [
                    folder.join("faketime/libfaketimeMT.so.1"),
                    folder.join("libfaketimeMT.so.1"),
                ]
            })
            .find(|file| file.exists())?;
        let folder = tempfile::tempdir().ok()?;
        std::fs::write(folder.path().join("offset"), "+0s\n").ok()?;
        Some(Self { faketime, folder })
    }
}

impl Service {
    pub(crate) fn new(url: String, guarded: bool, log: Published) -> Self {
        Self {
            url,
            log,
            guarded,
            child: None,
            address: Address::default(),
            clock: Clock::find(),
        }
    }

    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    pub(crate) fn address(&self) -> Address {
        Arc::clone(&self.address)
    }

    /// Starts the service if it is not running, and waits until it listens, for at most 60 s.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(&program);
        command
            .arg(if self.guarded { SERVE } else { SERVE_UNGUARDED })
            .arg(&self.url)
            .env(KEY, self.log.key())
            .env(PUBLISHED, self.log.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", &clock.faketime)
                .env(
                    "FAKETIME_TIMESTAMP_FILE",
                    clock.folder.path().join("offset"),
                )
                .env("FAKETIME_NO_CACHE", "1")
                // Shifts only the wall clock; timeouts use the monotonic one.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
        let out = child
            .stdout
            .take()
            .ok_or("the service's output was not captured")?;
        let mut lines = BufReader::new(out).lines();
        let output = tokio::time::timeout(std::time::Duration::from_secs(60), lines.next_line());
        match output.await {
            Ok(Ok(Some(line))) if line.starts_with("listening ") => {
                let address = line.trim_start_matches("listening ");
                *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address.to_owned();
                self.child = Some(child);
                Ok(())
            }
            other => Err(format!("the service did not start: {other:?}")),
        }
    }

    /// Ends the service with SIGKILL, so that it finishes nothing.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    pub(crate) async fn signal(&self, signal: &str) -> Result<(), String> {
        let id = self.child.as_ref().and_then(Child::id);
        let id = id.ok_or("the service is not running, so it cannot be signalled")?;
        let mut kill = Command::new("kill");
        let sent = kill.args([signal, &id.to_string()]).status().await;
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("kill {signal}: {other:?}")),
        }
    }

    /// Shifts the service's wall clock by this many seconds from the real time.
    pub(crate) fn shift_clock(&self, seconds: i64) -> Result<(), String> {
        let clock = self
            .clock
            .as_ref()
            .ok_or("the clock cannot be shifted: install libfaketime")?;
        let offset = clock.folder.path().join("offset");
        std::fs::write(offset, format!("{seconds:+}s\n"))
            .map_err(|error| format!("the clock could not be shifted: {error}"))
    }
}
