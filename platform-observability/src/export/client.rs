//! The exporters' HTTP client: what is sent, how often, and what is believed of the answers.

use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use prost::Message as _;
use reqwest::{Certificate, Identity};

use super::spool::{Kept, SignalSpool};
use super::spooler::Spooler;
use super::status::Ledger;
use crate::config::{Endpoint, Signal, Tls};
use crate::error::Error;

/// Between two attempts, at first and at most; half to all of it, by chance, so that the
/// instances of a service do not come back together.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An endpoint that asks for more is asked again all the same: it may not have meant it.
const LONGEST_TOLD_PAUSE: Duration = Duration::from_secs(3600);

/// How often the endpoint may fail at what is kept and take what came after, until that is dropped.
const MOST_PASSED: u32 = 3;

/// Of an answer no more is read; it says in a few bytes what it refused.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// One signal's client. It is given to the exporter, as the one that the exporter would choose
/// depends on the features that other crates switch on, and an asynchronous one fails on its
/// thread.
#[derive(Debug)]
pub(super) struct Client {
    line: Arc<Line>,
    spooler: Option<Arc<Spooler>>,
}

/// The way to one endpoint.
pub(super) struct Line {
    // None only while dropped.
    inner: Option<reqwest::blocking::Client>,
    signal: Signal,
    endpoint: Endpoint,
    ledger: Arc<Ledger>,
    stopping: Stopping,
    rest: Mutex<Rest>,
}

/// A request of the exporter's.
#[derive(Clone, Copy)]
struct Outgoing<'a> {
    url: &'a str,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

/// Set when the process ends: nobody waits from then on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping(Arc<(Mutex<bool>, Condvar)>);

impl Stopping {
    pub(super) fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until it is set.
    fn wait(&self, pause: Duration) {
        let stopping = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A poisoned lock ends the wait early, no more.
        let _ = self.0.1.wait_timeout_while(stopping, pause, |set| !*set);
    }
}

/// When an endpoint that fails is asked again.
#[derive(Debug, Default)]
struct Rest {
    /// How often it failed in a row.
    failures: u32,
    until: Option<Instant>,
}

impl Rest {
    fn failed(&mut self, told: Option<Duration>) {
        let doubled = 1 << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let longest = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        let half = longest / 2;
        let pause = half + half.mul_f64(fastrand::f64());
        let pause = told.map_or(pause, |told| told.max(pause));
        self.until = Instant::now().checked_add(pause);
    }
}

/// The answer to an export: of all signals alike, tag by tag.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
}

impl Client {
    /// With a spool, what the exporter sends goes there, and from there to the endpoint, on a
    /// thread of its own: so a slow endpoint keeps nobody waiting.
    pub(super) fn new(
        signal: Signal,
        endpoint: &Endpoint,
        ledger: Arc<Ledger>,
        stopping: Stopping,
        spool: Option<SignalSpool>,
    ) -> Result<Self, Error> {
        let line = Arc::new(Line::new(signal, endpoint, ledger, stopping)?);
        let spooler = spool.map(|spool| Spooler::new(spool, Arc::clone(&line)));
        Ok(Self { line, spooler })
    }

    pub(super) fn spooler(&self) -> Option<Arc<Spooler>> {
        self.spooler.clone()
    }
}

impl Line {
    fn new(
        signal: Signal,
        endpoint: &Endpoint,
        ledger: Arc<Ledger>,
        stopping: Stopping,
    ) -> Result<Self, Error> {
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(endpoint.timeout)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        let wrong = |error: reqwest::Error| Error::Certificates {
            signal,
            source: error.into(),
        };
        if endpoint.url.starts_with("http://") {
            // Plain HTTP also works where no certificate authority is installed.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = &endpoint.tls.authorities {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(wrong)?);
        }
        if let Some(pem) = &endpoint.tls.client {
            builder = builder.identity(Identity::from_pem(pem).map_err(wrong)?);
        }
        // A blocking client cannot be built inside a runtime, where `init` may well be called.
        let thread = thread::Builder::new().name("telemetry-client".to_owned());
        let building = thread
            .spawn(move || builder.build())
            .map_err(|source| Error::Thread { source })?;
        let built = building.join().map_err(|_| Error::Client {
            source: "the thread that made it panicked".into(),
        })?;
        // What is PEM and no certificate is found only now.
        let inner = built.map_err(|error| match endpoint.tls == Tls::default() {
            true => Error::Client {
                source: error.into(),
            },
            false => wrong(error),
        })?;
        Ok(Self {
            inner: Some(inner),
            signal,
            endpoint: endpoint.clone(),
            ledger,
            stopping,
            rest: Mutex::default(),
        })
    }

    /// Sends until it is answered for good, or the time is over. An endpoint that fails is left
    /// in peace for a while, by the next requests too: then one is tried.
    fn send(&self, request: &Outgoing<'_>) -> Result<Response<Bytes>, HttpError> {
        let began = Instant::now();
        let mut last = None;
        loop {
            let left = self.endpoint.timeout.saturating_sub(began.elapsed());
            let resting = self.resting();
            if left.is_zero() || (resting >= left && last.is_some()) {
                return last.unwrap_or_else(|| {
                    Err("the endpoint is left in peace for a while, as it failed before".into())
                });
            }
            if !resting.is_zero() && !self.stopping.is_set() {
                self.stopping.wait(resting.min(left));
                if resting >= left {
                    continue;
                }
            }
            if last.is_some() {
                self.ledger.retried();
            }
            let left = self.endpoint.timeout.saturating_sub(began.elapsed());
            let answer = self.try_once(request, left, is_worth_another_try);
            match &answer {
                Ok(response) if !is_worth_another_try(response.status()) => return answer,
                _ if self.stopping.is_set() => return answer,
                _ => last = Some(answer),
            }
        }
    }

    /// Takes note of what an earlier process left.
    pub(super) fn found(&self, spool: &SignalSpool) {
        self.ledger.found(spool.items());
    }

    /// Keeps a request of the exporter's on disk, and so has done with it, unless the disk does not
    /// take it.
    fn keep(&self, headers: &HeaderMap, body: &Bytes, spool: &SignalSpool) -> bool {
        let encoding = headers.get(CONTENT_ENCODING);
        let encoding = encoding.and_then(|encoding| encoding.to_str().ok());
        self.ledger.spooling();
        match spool.put(self.ledger.in_flight(), encoding, body) {
            Ok(dropped) => {
                self.ledger.dropped_from_disk(dropped);
                true
            }
            Err(error) => {
                self.ledger.not_spooled();
                tracing::warn!(target: "platform_observability::export", "the spool does not take the {}, which are sent without it, and lost if the endpoint does not take them: {error}", self.signal);
                false
            }
        }
    }

    /// Sends what is kept, the oldest first. Answers whether all of it was taken.
    ///
    /// Where the endpoint fails at the oldest, it may be because of what that is: so the next one is
    /// tried. Once that was taken [`MOST_PASSED`] times, the oldest is dropped and counted.
    pub(super) fn send_kept(&self, spool: &SignalSpool) -> bool {
        let mut suspect: Option<Kept> = None;
        let mut is_passed = false;
        loop {
            let (next, dropped) = spool.oldest(suspect.as_ref());
            self.ledger.dropped_from_disk(dropped);
            let Some((kept, body)) = next else {
                return suspect.is_none();
            };
            let mut headers = self.headers();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-protobuf"),
            );
            if let Some(encoding) = kept.encoding {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            let request = Outgoing {
                url: &self.endpoint.url,
                headers: &headers,
                body: &Bytes::from(body),
            };
            if suspect.is_none() && self.has_failed() {
                self.ledger.retried();
            }
            match self.try_once(&request, self.endpoint.timeout, is_worth_keeping) {
                Ok(response) if !is_worth_keeping(response.status()) => {
                    spool.remove(&kept);
                    spool.release();
                    if !response.status().is_success() {
                        self.ledger.dropped_from_disk(kept.items);
                        continue;
                    }
                    self.ledger.sent_from_disk(kept.items, refused(&response));
                    if let Some(passed) = suspect.as_ref().filter(|_| !is_passed) {
                        // Once for each attempt at it, however many are taken behind.
                        is_passed = true;
                        let dropped = spool.passed(passed, MOST_PASSED);
                        self.ledger.dropped_from_disk(dropped);
                    }
                }
                Ok(response) if suspect.is_none() && may_be_the_requests_own(&response) => {
                    spool.release();
                    suspect = Some(kept);
                }
                _ => {
                    spool.release();
                    return false;
                }
            }
        }
    }

    /// What belongs to this endpoint.
    fn headers(&self) -> HeaderMap {
        self.endpoint.headers.iter().cloned().collect()
    }

    fn has_failed(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.failures > 0
    }

    /// How long the endpoint is still left in peace.
    pub(super) fn resting(&self) -> Duration {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let until = rest.until;
        until
            .map(|until| until.saturating_duration_since(Instant::now()))
            .unwrap_or_default()
    }

    /// Sends once, and takes note of how the endpoint is.
    fn try_once(
        &self,
        request: &Outgoing<'_>,
        timeout: Duration,
        is_worth_another: fn(StatusCode) -> bool,
    ) -> Result<Response<Bytes>, HttpError> {
        let answer = self.send_once(request, timeout);
        let (reason, told) = match &answer {
            Ok(response) if is_worth_another(response.status()) => {
                let told = told_pause(response.headers());
                (response.status().to_string(), told)
            }
            Ok(response) => {
                let refused = !response.status().is_success();
                self.say(refused.then(|| response.status().to_string()));
                *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Rest::default();
                return answer;
            }
            Err(error) => (error.to_string(), None),
        };
        self.say(Some(reason));
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.failed(told);
        answer
    }

    fn send_once(
        &self,
        request: &Outgoing<'_>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        let Some(inner) = &self.inner else {
            return Err("the client is gone".into());
        };
        let building = inner.post(request.url);
        let building = building.headers(request.headers.clone());
        // Its own words would show the whole URL.
        let sent = building
            .body(request.body.clone())
            .timeout(timeout)
            .send()
            .map_err(|error| described(&error))?;
        let mut response = Response::builder().status(sent.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(sent.headers());
        }
        let mut answer = Vec::new();
        sent.take(LONGEST_ANSWER)
            .read_to_end(&mut answer)
            .map_err(|_| "the connection was cut in the middle of the answer")?;
        Ok(response.body(Bytes::from(answer))?)
    }

    /// Keeps the state of the endpoint, and logs what is news.
    fn say(&self, reason: Option<String>) {
        let signal = self.signal;
        if !self.ledger.trouble(reason.clone()) {
            return;
        }
        match reason {
            Some(reason) => tracing::warn!(
                target: "platform_observability::export",
                "the endpoint does not take the {signal}: {reason}; they wait in a bounded queue, and what does not fit is dropped and counted"
            ),
            None => tracing::info!(
                target: "platform_observability::export",
                "the endpoint takes the {signal} again"
            ),
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        // Only what belongs to this endpoint: the exporter adds OTEL_EXPORTER_OTLP_HEADERS, which
        // may hold another endpoint's token.
        let mut headers = self.line.headers();
        for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(spooler) = &self.spooler
            && self.line.keep(&headers, &body, spooler.spool())
        {
            spooler.wake();
            return Ok(Response::new(Bytes::new()));
        }
        let request = Outgoing {
            url: &parts.uri.to_string(),
            headers: &headers,
            body: &body,
        };
        let response = self.line.send(&request)?;
        if response.status().is_success() {
            self.line.ledger.refused(refused(&response));
        }
        Ok(response)
    }
}

/// How many items the endpoint refused while it took the rest. What is no such message refuses
/// none.
fn refused(response: &Response<Bytes>) -> u64 {
    let answer = Answer::decode(response.body().as_ref()).unwrap_or_default();
    let rejected = answer.partial_success.unwrap_or_default().rejected;
    u64::try_from(rejected).unwrap_or(0)
}

/// By OTLP's specification ("Retryable Response Codes").
fn is_worth_another_try(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Whether what is on disk stays there: unless the endpoint says that it is wrong in itself. A wrong
/// token or dataset is put right without a change to it, and so is an endpoint that fails or that
/// somebody else answers for, as gateways do with 500, 52x or a redirect while it is away.
fn is_worth_keeping(status: StatusCode) -> bool {
    let is_about_the_endpoint = matches!(status.as_u16(), 401 | 403 | 404 | 408 | 425 | 429);
    is_about_the_endpoint || status.is_server_error() || status.is_redirection()
}

/// Whether the endpoint may have failed at what it was sent, rather than altogether: a collector
/// answers 500 where one of its parts refuses a batch for good.
fn may_be_the_requests_own(response: &Response<Bytes>) -> bool {
    let is_a_gateways = matches!(response.status().as_u16(), 502..=504 | 520..=530);
    let is_its_own = response.status().is_server_error() && !is_a_gateways;
    is_its_own && told_pause(response.headers()).is_none()
}

/// How long the endpoint asks to be left in peace: by `Retry-After` (RFC 9110), seconds or a date,
/// or by Axiom's `X-RateLimit-Reset`, the second since 1970 at which its limit starts anew; an hour
/// at most. Times are the endpoint's, and so is the clock that they are held against, if it says so.
fn told_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = date.unwrap_or_else(SystemTime::now);
    let until = |time: SystemTime| time.duration_since(now).ok();
    let after = text(RETRY_AFTER.as_str()).and_then(|told| match told.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => until(httpdate::parse_http_date(told).ok()?),
    });
    let reset = text("x-ratelimit-reset").and_then(|told| {
        let second = Duration::from_secs(told.parse().ok()?);
        until(UNIX_EPOCH.checked_add(second)?)
    });
    after.max(reset).map(|pause| pause.min(LONGEST_TOLD_PAUSE))
}

fn described(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the connection failed"
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A blocking client cannot be dropped inside a runtime either.
        let inner = self.inner.take();
        let _ = super::spawn("telemetry-client", move || drop(inner));
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use http::header::RETRY_AFTER;
    use http::{HeaderMap, HeaderValue, Response, StatusCode};
    use opentelemetry_http::Bytes;

    use super::{FIRST_PAUSE, LONGEST_PAUSE, Rest, may_be_the_requests_own, told_pause};

    #[test]
    fn pauses_grow_to_their_limit_and_never_below_what_is_told() {
        let mut rest = Rest::default();
        let mut longest = FIRST_PAUSE;
        for _ in 0..100 {
            let before = Instant::now();
            rest.failed(None);
            let pause = rest.until.unwrap() - before;
            assert!(pause >= longest / 2, "{pause:?} of {longest:?}");
            assert!(
                pause <= longest + Duration::from_secs(1),
                "{pause:?} of {longest:?}"
            );
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
        let before = Instant::now();
        rest.failed(Some(Duration::from_secs(300)));
        assert!(rest.until.unwrap() - before >= Duration::from_secs(300));
    }

    #[test]
    fn a_request_is_suspected_only_of_what_no_gateway_says() {
        for (status, retry_after, expected) in [
            (500, None, true),
            (501, None, true),
            (500, Some("1"), false),
            (502, None, false),
            (503, None, false),
            (504, None, false),
            (522, None, false),
            (302, None, false),
            (408, None, false),
        ] {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(seconds) = retry_after {
                let seconds = HeaderValue::from_static(seconds);
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            let suspected = may_be_the_requests_own(&response);
            assert_eq!(suspected, expected, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn the_longer_of_what_is_told_counts() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let told = |headers: &[(&'static str, String)]| {
            let headers = headers.iter();
            let headers: HeaderMap = headers
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            told_pause(&headers)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&[("retry-after", "7".to_owned())]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            told(&[("retry-after", u64::MAX.to_string())]),
            Some(Duration::from_secs(3600)),
        );
        assert_eq!(
            told(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT".to_owned())]),
            None
        );
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let pause = told(&[("retry-after", date)]).unwrap();
        assert!(
            pause > Duration::from_secs(80) && pause <= Duration::from_secs(100),
            "{pause:?}"
        );
        assert_eq!(told(&[("retry-after", "soon".to_owned())]), None);
        assert_eq!(
            told(&[("x-ratelimit-reset", u64::MAX.to_string())]),
            None,
            "there is no such time"
        );
        assert_eq!(
            told(&[("x-ratelimit-reset", "12".to_owned())]),
            None,
            "it is past"
        );
        let reset = told(&[
            ("x-ratelimit-reset", (now + 60).to_string()),
            ("retry-after", "7".to_owned()),
        ]);
        let reset = reset.unwrap();
        assert!(
            reset > Duration::from_secs(50) && reset <= Duration::from_secs(60),
            "{reset:?}"
        );
        // Its clock may go differently.
        let date = || httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now - 1200));
        for (header, then) in [
            ("x-ratelimit-reset", (now - 1190).to_string()),
            (
                "retry-after",
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now - 1190)),
            ),
        ] {
            let told = told(&[("date", date()), (header, then)]);
            assert_eq!(told, Some(Duration::from_secs(10)), "{header}");
        }
    }
}
