//! Exponential backoff with jitter, which an endpoint can extend.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// The first and the longest pause between two attempts. Each is shortened by up to half at
/// random (jitter), so that the instances of a service do not retry at the same time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that an endpoint can request. A longer one may be a mistake.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// When the next attempt may be made.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    consecutive_failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Starts a pause of at least `retry_after`, twice as long as the last.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) {
        let factor = 1 << self.consecutive_failures.min(16);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        let longest = FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE);
        let half = longest / 2;
        let pause = half + half.mul_f64(fastrand::f64());
        let pause = pause.max(retry_after.unwrap_or_default());
        self.until = Instant::now().checked_add(pause);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.consecutive_failures > 0
    }

    pub(super) fn remaining(&self) -> Duration {
        let until = self.until.unwrap_or_else(Instant::now);
        until.saturating_duration_since(Instant::now())
    }
}

/// The pause that the endpoint requests, an hour at most: by `Retry-After` (RFC 9110), in seconds
/// or as a date, or by Axiom's `X-RateLimit-Reset`, in seconds since 1970. Times are compared with
/// the endpoint's clock if the response has a `Date`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = date.unwrap_or_else(SystemTime::now);
    let until = |time: SystemTime| time.duration_since(now).ok();
    let after = text(RETRY_AFTER.as_str()).and_then(|value| match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => until(httpdate::parse_http_date(value).ok()?),
    });
    let reset = text("x-ratelimit-reset").and_then(|value| {
        let second = Duration::from_secs(value.parse().ok()?);
        until(UNIX_EPOCH.checked_add(second)?)
    });
    after.max(reset).map(|pause| pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use http::HeaderMap;

    use super::{Backoff, FIRST_PAUSE, MAX_PAUSE, retry_after};

    #[test]
    fn the_backoff_doubles_to_its_maximum_and_is_never_shorter_than_retry_after() {
        let mut backoff = Backoff::default();
        let mut longest = FIRST_PAUSE;
        for _ in 0..100 {
            let before = Instant::now();
            backoff.failed(None);
            let pause = backoff.until.unwrap() - before;
            assert!(pause >= longest / 2, "{pause:?} of {longest:?}");
            assert!(
                pause <= longest + Duration::from_secs(1),
                "{pause:?} of {longest:?}"
            );
            longest = (longest * 2).min(MAX_PAUSE);
        }
        let before = Instant::now();
        backoff.failed(Some(Duration::from_secs(300)));
        assert!(backoff.until.unwrap() - before >= Duration::from_secs(300));
    }

    #[test]
    fn the_longer_of_retry_after_and_ratelimit_reset_counts() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let requested = |headers: &[(&'static str, String)]| {
            let headers = headers.iter();
            let headers: HeaderMap = headers
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            retry_after(&headers)
        };
        assert_eq!(requested(&[]), None);
        assert_eq!(
            requested(&[("retry-after", "7".to_owned())]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            requested(&[("retry-after", u64::MAX.to_string())]),
            Some(Duration::from_secs(3600)),
        );
        assert_eq!(
            requested(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT".to_owned())]),
            None
        );
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let pause = requested(&[("retry-after", date)]).unwrap();
        assert!(
            pause > Duration::from_secs(80) && pause <= Duration::from_secs(100),
            "{pause:?}"
        );
        assert_eq!(requested(&[("retry-after", "soon".to_owned())]), None);
        assert_eq!(
            requested(&[("x-ratelimit-reset", u64::MAX.to_string())]),
            None,
            "beyond the clock's range"
        );
        assert_eq!(
            requested(&[("x-ratelimit-reset", "12".to_owned())]),
            None,
            "in the past"
        );
        let reset = requested(&[
            ("x-ratelimit-reset", (now + 60).to_string()),
            ("retry-after", "7".to_owned()),
        ]);
        let reset = reset.unwrap();
        assert!(
            reset > Duration::from_secs(50) && reset <= Duration::from_secs(60),
            "{reset:?}"
        );
        // The endpoint's clock may differ.
        let date = || httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now - 1200));
        for (header, then) in [
            ("x-ratelimit-reset", (now - 1190).to_string()),
            (
                "retry-after",
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now - 1190)),
            ),
        ] {
            let pause = requested(&[("date", date()), (header, then)]);
            assert_eq!(pause, Some(Duration::from_secs(10)), "{header}");
        }
    }
}
