//! The HTTP connection to an endpoint.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use opentelemetry_http::{Bytes, HttpError, Response};
use reqwest::{Certificate, Identity};

use super::backoff::{Backoff, retry_after};
use super::response::is_retryable;
use super::shutdown_flag::ShutdownFlag;
use super::stats::ExportStats;
use super::thread::spawn;
use crate::config::{Endpoint, Tls};
use crate::error::Error;
use crate::signal::Signal;
use crate::sync::lock;

/// The maximum number of bytes that are read of a response. A response that reports rejections has
/// a few bytes.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

/// Sends encoded batches of one signal to its endpoint.
pub(super) struct Transport {
    // `None` only during the drop.
    client: Option<reqwest::blocking::Client>,
    pub(super) signal: Signal,
    pub(super) endpoint: Endpoint,
    pub(super) stats: Arc<ExportStats>,
    shutdown: ShutdownFlag,
    backoff: Mutex<Backoff>,
}

impl Transport {
    pub(super) fn new(
        signal: Signal,
        endpoint: &Endpoint,
        stats: Arc<ExportStats>,
        shutdown: ShutdownFlag,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: Some(http_client(signal, endpoint)?),
            signal,
            endpoint: endpoint.clone(),
            stats,
            shutdown,
            backoff: Mutex::default(),
        })
    }

    /// Sends a batch, with retries, until a final response or the endpoint's timeout. The backoff
    /// also applies to later batches: there is no attempt if the timeout ends first.
    pub(super) fn send(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<Bytes>, HttpError> {
        let started = Instant::now();
        let mut last = None;
        loop {
            let remaining = self.endpoint.timeout.saturating_sub(started.elapsed());
            let pause = self.backoff().remaining();
            if remaining.is_zero() || (pause >= remaining && last.is_some()) {
                return last.unwrap_or_else(|| {
                    Err("the endpoint failed before, and its backoff has not ended".into())
                });
            }
            if !pause.is_zero() && !self.shutdown.is_set() {
                self.shutdown.wait(pause.min(remaining));
                if pause >= remaining {
                    continue;
                }
            }
            if last.is_some() {
                self.stats.retried();
            }
            let remaining = self.endpoint.timeout.saturating_sub(started.elapsed());
            let result = self.attempt(headers, body, remaining, is_retryable);
            match &result {
                Ok(response) if !is_retryable(response.status()) => return result,
                _ if self.shutdown.is_set() => return result,
                _ => last = Some(result),
            }
        }
    }

    pub(super) fn backoff(&self) -> MutexGuard<'_, Backoff> {
        lock(&self.backoff)
    }

    /// Sends a batch once, and updates the backoff and the last error.
    pub(super) fn attempt(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        timeout: Duration,
        is_retryable: fn(StatusCode) -> bool,
    ) -> Result<Response<Bytes>, HttpError> {
        let result = self.post(headers, body, timeout);
        let (reason, pause) = match &result {
            Ok(response) if is_retryable(response.status()) => {
                let pause = retry_after(response.headers());
                (response.status().to_string(), pause)
            }
            Ok(response) => {
                let is_error = !response.status().is_success();
                self.report(is_error.then(|| response.status().to_string()));
                self.backoff().succeeded();
                return result;
            }
            Err(error) => (error.to_string(), None),
        };
        self.report(Some(reason));
        self.backoff().failed(pause);
        result
    }

    fn post(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        timeout: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        let Some(client) = &self.client else {
            return Err("the client is shut down".into());
        };
        let mut all: HeaderMap = self.endpoint.headers.iter().cloned().collect();
        for (name, value) in headers {
            all.insert(name, value.clone());
        }
        let received = client
            .post(&self.endpoint.url)
            .headers(all)
            .body(body.clone())
            .timeout(timeout)
            .send()
            // reqwest's own message would contain the whole URL.
            .map_err(|error| describe(&error))?;
        let mut response = Response::builder().status(received.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(received.headers());
        }
        let mut body = Vec::new();
        received
            .take(MAX_RESPONSE_BYTES)
            .read_to_end(&mut body)
            .map_err(|_| "the connection was closed in the middle of the response")?;
        Ok(response.body(Bytes::from(body))?)
    }

    /// Records the endpoint's last error, and logs when its state changes.
    fn report(&self, error: Option<String>) {
        let signal = self.signal;
        if !self.stats.set_last_error(error.clone()) {
            return;
        }
        match error {
            Some(error) => tracing::warn!(
                target: "platform_observability::export",
                "the endpoint does not accept {signal}: {error}; they wait in a bounded queue, and items that do not fit are dropped and counted"
            ),
            None => tracing::info!(
                target: "platform_observability::export",
                "the endpoint accepts {signal} again"
            ),
        }
    }
}

fn http_client(signal: Signal, endpoint: &Endpoint) -> Result<reqwest::blocking::Client, Error> {
    let mut builder = reqwest::blocking::Client::builder()
        .timeout(endpoint.timeout)
        // A redirect would send the token to another host.
        .redirect(reqwest::redirect::Policy::none());
    let invalid = |error: reqwest::Error| Error::Certificates {
        signal,
        source: error.into(),
    };
    if endpoint.url.starts_with("http://") {
        // So that plain HTTP works on a machine without certificate authorities.
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = &endpoint.tls.authorities {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(invalid)?);
    }
    if let Some(pem) = &endpoint.tls.identity {
        builder = builder.identity(Identity::from_pem(pem).map_err(invalid)?);
    }
    // A blocking client cannot be built inside a runtime, where `init` may be called.
    let thread = thread::Builder::new().name("telemetry-client".to_owned());
    let building = thread
        .spawn(move || builder.build())
        .map_err(|source| Error::Thread { source })?;
    let built = building.join().map_err(|_| Error::Client {
        source: "the thread that built it panicked".into(),
    })?;
    // PEM without a valid certificate is detected only by `build`.
    built.map_err(|error| match endpoint.tls == Tls::default() {
        true => Error::Client {
            source: error.into(),
        },
        false => invalid(error),
    })
}

fn describe(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it did not respond in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the connection failed"
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // A blocking client cannot be dropped inside a runtime either.
        let client = self.client.take();
        let _ = spawn("telemetry-client", move || drop(client));
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
