//! The thread that sends spooled requests.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::Bytes;

use super::request::protobuf_headers;
use super::response::{keeps_spooled, may_be_caused_by_batch, rejected_items};
use super::spool::{SignalSpool, SpooledRequest};
use super::thread::spawn;
use super::transport::Transport;
use crate::error::Error;
use crate::sync::lock;

/// The number of rounds in which the endpoint may fail at a request but accept a later one. Then
/// the request is dropped.
const MAX_SKIPS: u32 = 3;

#[derive(Debug)]
pub(super) struct Spooler {
    spool: SignalSpool,
    transport: Arc<Transport>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a request was added since the last round.
    is_woken: bool,
    /// Whether the thread ends after one more round.
    is_finishing: bool,
    is_running: bool,
}

impl Spooler {
    pub(super) fn new(spool: SignalSpool, transport: Arc<Transport>) -> Arc<Self> {
        transport.stats.found_in_spool(spool.items());
        Arc::new(Self {
            spool,
            transport,
            // Sends the requests of an earlier process immediately.
            state: Mutex::new(State {
                is_woken: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        })
    }

    /// Starts the thread. Nothing is sent before.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), Error> {
        self.change(|state| state.is_running = true);
        let spooler = Arc::clone(self);
        let started = spawn("telemetry-spool", move || spooler.run());
        if started.is_err() {
            self.change(|state| state.is_running = false);
        }
        started
    }

    pub(super) fn spool(&self) -> &SignalSpool {
        &self.spool
    }

    /// Call this after adding a request.
    pub(super) fn wake(&self) {
        self.change(|state| state.is_woken = true);
    }

    /// Makes one more attempt to send all requests, then ends the thread. Waits for the end for at
    /// most `timeout`. Requests that are not sent stay on disk.
    pub(super) fn finish(&self, timeout: Duration) {
        self.change(|state| state.is_finishing = true);
        let state = lock(&self.state);
        let _ = self
            .changed
            .wait_timeout_while(state, timeout, |state| state.is_running);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    fn run(&self) {
        loop {
            let is_empty = self.send_all();
            let state = lock(&self.state);
            let mut state = if is_empty {
                let is_idle = |state: &mut State| !state.is_woken && !state.is_finishing;
                let waited = self.changed.wait_while(state, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            } else {
                // A new request does not end the endpoint's backoff.
                let pause = self.transport.backoff().remaining();
                let is_waiting = |state: &mut State| !state.is_finishing;
                let waited = self.changed.wait_timeout_while(state, pause, is_waiting);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            state.is_woken = false;
            if state.is_finishing {
                drop(state);
                self.send_all();
                return self.change(|state| state.is_running = false);
            }
        }
    }

    /// Sends the spooled requests, oldest first. Returns whether none is left.
    ///
    /// If the endpoint fails at the oldest, the request itself may be the cause, so the next one is
    /// tried. When later ones were accepted in [`MAX_SKIPS`] rounds, the oldest is dropped.
    pub(super) fn send_all(&self) -> bool {
        let stats = &self.transport.stats;
        let mut skipped: Option<SpooledRequest> = None;
        let mut is_counted = false;
        loop {
            let (next, dropped) = self.spool.oldest(skipped.as_ref());
            stats.dropped_from_spool(dropped);
            let Some((request, body)) = next else {
                return skipped.is_none();
            };
            if skipped.is_none() && self.transport.backoff().has_failed() {
                stats.retried();
            }
            let timeout = self.transport.endpoint.timeout;
            let (headers, body) = (protobuf_headers(request.encoding), Bytes::from(body));
            let result = self
                .transport
                .attempt(&headers, &body, timeout, keeps_spooled);
            if matches!(&result, Ok(response) if !keeps_spooled(response.status())) {
                self.spool.remove(&request);
            }
            self.spool.release();
            match result {
                Ok(response) if response.status().is_success() => {
                    stats.exported_from_spool(request.items, rejected_items(&response));
                    if let Some(skipped) = skipped.as_ref().filter(|_| !is_counted) {
                        // Once a round, however many later requests are accepted.
                        is_counted = true;
                        stats.dropped_from_spool(self.spool.count_skip(skipped, MAX_SKIPS));
                    }
                }
                Ok(response) if !keeps_spooled(response.status()) => {
                    stats.dropped_from_spool(request.items);
                }
                Ok(response) if skipped.is_none() && may_be_caused_by_batch(&response) => {
                    skipped = Some(request);
                }
                _ => return false,
            }
        }
    }
}
