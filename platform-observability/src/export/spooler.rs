//! The thread that sends what is spooled.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::client::Line;
use super::spool::SignalSpool;
use crate::error::Error;

#[derive(Debug)]
pub(super) struct Spooler {
    spool: SignalSpool,
    line: Arc<Line>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether there is something new.
    woken: bool,
    /// Whether it is to end after one more attempt.
    finishing: bool,
    /// Whether the thread is there.
    running: bool,
}

impl Spooler {
    pub(super) fn new(spool: SignalSpool, line: Arc<Line>) -> Arc<Self> {
        line.found(&spool);
        Arc::new(Self {
            spool,
            line,
            // What an earlier process left is sent at once.
            state: Mutex::new(State {
                woken: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        })
    }

    pub(super) fn start(self: &Arc<Self>) -> Result<(), Error> {
        self.change(|state| state.running = true);
        let running = Arc::clone(self);
        let started = super::spawn("telemetry-spool", move || running.run());
        if started.is_err() {
            self.change(|state| state.running = false);
        }
        started
    }

    pub(super) fn spool(&self) -> &SignalSpool {
        &self.spool
    }

    /// There is something new to send.
    pub(super) fn wake(&self) {
        self.change(|state| state.woken = true);
    }

    /// Has what is kept sent once more, and the thread end; waits for it so long at most. What is
    /// left then stays on disk.
    pub(super) fn finish(&self, deadline: Duration) {
        self.change(|state| state.finishing = true);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever came of it.
        let _ = self
            .changed
            .wait_timeout_while(state, deadline, |state| state.running);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn run(&self) {
        loop {
            let is_empty = self.line.send_kept(&self.spool);
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = if is_empty {
                let idle = |state: &mut State| !state.woken && !state.finishing;
                self.changed.wait_while(state, idle)
            } else {
                // Nothing new makes an endpoint well.
                let resting = |state: &mut State| !state.finishing;
                let waited = self
                    .changed
                    .wait_timeout_while(state, self.line.resting(), resting);
                waited.map(|(state, _)| state).map_err(|error| {
                    let (state, _) = error.into_inner();
                    PoisonError::new(state)
                })
            };
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            state.woken = false;
            if state.finishing {
                drop(state);
                self.line.send_kept(&self.spool);
                return self.change(|state| state.running = false);
            }
        }
    }
}
