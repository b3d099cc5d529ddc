//! Keeps a flood of unauthenticated attempts from filling the audit table: what is over the limit
//! is counted in one summarising record a minute.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::context::{Core, Unit, lock, now};
use crate::record::{Actor, ActorKind, Outcome, bound_record};

/// Anonymous attempts a minute that are recorded one by one, for each action and address, unless
/// the service says otherwise.
pub(crate) const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// How often a summary is written and recovered keys are forgotten.
const EVERY: Duration = Duration::from_secs(60);

/// The most pairs of an action and an address that are told apart; about 1 MB.
const MAX_CLIENTS: usize = 10_000;

/// The most actions that are told apart beyond that, and in a summary.
const MAX_ACTIONS: usize = 100;

/// The most addresses that a summary lists.
const TOP: usize = 20;

/// Where a summary counts the actions that it has no room for. No action has such a name.
const OTHER: &str = "other";

/// Whom an attempt came from, as far as a client cannot choose it at will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Client {
    Unknown,
    V4(Ipv4Addr),
    /// The first address of a /64: the least that a subscriber is given.
    V6(Ipv6Addr),
}

impl Client {
    fn of(address: Option<IpAddr>) -> Self {
        // An IPv4 client of a dual-stack socket arrives as ::ffff:a.b.c.d.
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                Self::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
            }
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// What an anonymous unit of work is limited by, should it become an attempt.
#[derive(Debug)]
pub(crate) struct Anonymous {
    action: Cow<'static, str>,
    client: Client,
    /// Decided once, as an answer may have to tell before the attempt is recorded.
    admitted: OnceLock<bool>,
}

impl Anonymous {
    /// `None` for an actor who is known, whose attempts are all recorded.
    pub(crate) fn of(
        actor: &Actor,
        action: Cow<'static, str>,
        address: Option<IpAddr>,
    ) -> Option<Arc<Self>> {
        (actor.kind == ActorKind::Anonymous).then(|| {
            Arc::new(Self {
                action,
                client: Client::of(address),
                admitted: OnceLock::new(),
            })
        })
    }
}

/// What shares one allowance: an action and a client; an action whose further clients are not
/// told apart (no client); or all the rest (neither).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    action: Option<Cow<'static, str>>,
    client: Option<Client>,
}

/// The limiter's state, of at most `MAX_CLIENTS + MAX_ACTIONS + 1` keys.
#[derive(Default)]
struct Keys(Mutex<HashMap<Key, Nanos>>);

impl Keys {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Nanos>> {
        lock(&self.0)
    }
}

impl StateStore for Keys {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.lock();
        let fits = |key: &Key, most| keys.len() < most || keys.contains_key(key);
        let shared = || Key {
            action: key.action.clone(),
            client: None,
        };
        let key = if fits(key, MAX_CLIENTS) {
            key.clone()
        } else if fits(&shared(), MAX_CLIENTS + MAX_ACTIONS) {
            shared()
        } else {
            Key {
                action: None,
                client: None,
            }
        };
        let (allowed, state) = f(keys.get(&key).copied())?;
        keys.insert(key, state);
        Ok(allowed)
    }
}

impl ShrinkableKeyedStateStore<Key> for Keys {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, state| *state > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// How much each key may have recorded; the clock is a test's.
struct Limiter<C: Clock = DefaultClock>(
    RateLimiter<Key, Keys, C, NoOpMiddleware<<C as Clock>::Instant>>,
);

impl<C: Clock> Limiter<C> {
    fn new(per_minute: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute);
        Self(RateLimiter::new(quota, Keys::default(), clock))
    }

    fn admits(&self, action: Cow<'static, str>, client: Client) -> bool {
        let key = Key {
            action: Some(action),
            client: Some(client),
        };
        self.0.check_key(&key).is_ok()
    }

    /// Forgets the keys that have their whole allowance again.
    fn tidy(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// What was not recorded one by one since the last summary.
#[derive(Debug, PartialEq)]
struct Suppressed {
    since: Timestamp,
    until: Timestamp,
    total: u64,
    /// At most [`MAX_ACTIONS`], and [`OTHER`].
    by_action: HashMap<Cow<'static, str>, u64>,
    /// At most [`MAX_CLIENTS`].
    by_client: HashMap<Client, u64>,
}

impl Suppressed {
    fn none(at: Timestamp) -> Self {
        Self {
            since: at,
            until: at,
            total: 0,
            by_action: HashMap::new(),
            by_client: HashMap::new(),
        }
    }

    fn add_action(&mut self, action: Cow<'static, str>, count: u64) {
        let known = has_room(&self.by_action, &action, MAX_ACTIONS);
        let action = if known { action } else { OTHER.into() };
        *self.by_action.entry(action).or_default() += count;
    }

    fn add_client(&mut self, client: Client, count: u64) {
        if has_room(&self.by_client, &client, MAX_CLIENTS) {
            *self.by_client.entry(client).or_default() += count;
        }
    }

    /// Takes in what was counted after it.
    fn join(&mut self, later: Self) {
        self.until = self.until.max(later.until);
        self.total += later.total;
        for (action, count) in later.by_action {
            self.add_action(action, count);
        }
        for (client, count) in later.by_client {
            self.add_client(client, count);
        }
    }

    /// The summary's details, which are well below their bound.
    fn details(&self) -> Map<String, Value> {
        let by_action = self.by_action.iter();
        let by_action = by_action.map(|(action, count)| (action.to_string(), Value::from(*count)));
        let mut clients: Vec<_> = self.by_client.iter().collect();
        clients.sort_unstable_by_key(|(client, count)| (Reverse(**count), **client));
        let top = clients.into_iter().take(TOP);
        let top = top.map(|(client, count)| (client.to_string(), Value::from(*count)));
        let details = [
            ("suppressed", Value::from(self.total)),
            ("since", Value::from(self.since.to_string())),
            ("until", Value::from(self.until.to_string())),
            ("by_action", Value::Object(by_action.collect())),
            ("top_addresses", Value::Object(top.collect())),
        ];
        details
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

fn has_room<K: Eq + Hash>(counts: &HashMap<K, u64>, key: &K, most: usize) -> bool {
    counts.len() < most || counts.contains_key(key)
}

/// The limit on anonymous attempts, and the count of those over it.
pub(crate) struct Flood {
    limiter: Limiter,
    suppressed: Mutex<Option<Suppressed>>,
    /// Held while a summary is written, so that a shutdown waits for that of the last minute.
    summarising: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood").finish_non_exhaustive()
    }
}

impl Flood {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            limiter: Limiter::new(per_minute, DefaultClock::default()),
            suppressed: Mutex::new(None),
            summarising: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether an attempt may be recorded. Once it was said of one, it stays so.
    pub(crate) fn admits(&self, attempt: Option<&Anonymous>) -> bool {
        attempt.is_none_or(|attempt| {
            let admits = || self.limiter.admits(attempt.action.clone(), attempt.client);
            *attempt.admitted.get_or_init(admits)
        })
    }

    /// Counts an attempt that is not admitted.
    pub(crate) fn suppress(&self, attempt: &Anonymous) {
        let now = now();
        let mut suppressed = lock(&self.suppressed);
        let suppressed = suppressed.get_or_insert_with(|| Suppressed::none(now));
        suppressed.until = suppressed.until.max(now);
        suppressed.total += 1;
        suppressed.add_action(attempt.action.clone(), 1);
        suppressed.add_client(attempt.client, 1);
    }

    /// Takes the counts, to be written.
    fn take(&self) -> Option<Taken<'_>> {
        let counts = lock(&self.suppressed).take()?;
        Some(Taken {
            flood: self,
            counts: Some(counts),
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        if let Some(left) = lock(&self.suppressed).take() {
            let text = Value::Object(left.details()).to_string();
            tracing::error!(
                suppressed = text,
                "anonymous attempts were counted after the last summary, as auditing was not shut down; this event is all that is left of them"
            );
        }
    }
}

/// Counts that go back unless they were written, even if writing them is cut off.
struct Taken<'a> {
    flood: &'a Flood,
    counts: Option<Suppressed>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(mut counts) = self.counts.take() else {
            return;
        };
        let mut suppressed = lock(&self.flood.suppressed);
        if let Some(later) = suppressed.take() {
            counts.join(later);
        }
        *suppressed = Some(counts);
    }
}

impl Core {
    /// Writes the summary of what was suppressed, if anything was. If it cannot be written, its
    /// counts are kept for the next; at the `last` one the record itself is reported instead.
    pub(crate) async fn summarise(&self, last: bool) {
        let _one_at_a_time = self.flood.summarising.lock().await;
        let Some(mut taken) = self.flood.take() else {
            return;
        };
        let mut unit = Unit::new(Actor::system("platform-audit"), "attempt.suppress".into());
        if let Some(counts) = &taken.counts {
            unit.details = counts.details();
        }
        let mut record = self.record(&unit, Outcome::Denied, None);
        record.error_type = Some("rate_limited".to_owned());
        bound_record(&mut record);
        match self.write_alone(&record).await {
            Ok(()) => taken.counts = None,
            Err(error) if last => {
                self.report_lost(&record, &error);
                taken.counts = None;
            }
            Err(error) => tracing::error!(
                error,
                "the summary of suppressed anonymous attempts could not be written; the next one will hold its counts"
            ),
        }
    }
}

/// Summarises each minute until the auditing is dropped.
pub(crate) async fn summarise(core: Weak<Core>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(core) = core.upgrade() else { return };
        core.flood.limiter.tidy();
        core.summarise(false).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn client(address: &str) -> Client {
        Client::of(Some(address.parse().unwrap()))
    }

    fn numbered(number: usize) -> Client {
        Client::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()))
    }

    fn limiter(per_minute: u32) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let per_minute = NonZeroU32::new(per_minute).unwrap();
        (Limiter::new(per_minute, clock.clone()), clock)
    }

    const LOG_IN: Cow<'static, str> = Cow::Borrowed("user.log_in");
    const SIGN_UP: Cow<'static, str> = Cow::Borrowed("user.sign_up");

    #[test]
    fn addresses_of_one_subscriber_are_one_client() {
        let one = client("2001:db8:1:2::1");
        assert_eq!(one, client("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(one, client("2001:db8:1:3::1"));
        assert_eq!(one.to_string(), "2001:db8:1:2::/64");
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        // On a dual-stack socket, which must not make one client of all of IPv4.
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(Client::of(None).to_string(), "unknown");
    }

    #[test]
    fn a_client_has_its_allowance_each_minute_and_for_each_action() {
        let (limiter, clock) = limiter(30);
        let admitted = |action: Cow<'static, str>, client| {
            let tries = 0..100;
            tries
                .filter(|_| limiter.admits(action.clone(), client))
                .count()
        };
        assert_eq!(admitted(LOG_IN, numbered(1)), 30);
        assert_eq!(admitted(LOG_IN, numbered(2)), 30, "another client");
        assert_eq!(admitted(SIGN_UP, numbered(1)), 30, "another action");
        assert_eq!(admitted(LOG_IN, numbered(1)), 0);
        clock.advance(Duration::from_secs(2));
        assert_eq!(admitted(LOG_IN, numbered(1)), 1);
        clock.advance(Duration::from_secs(60));
        assert_eq!(admitted(LOG_IN, numbered(1)), 30);
    }

    #[test]
    fn what_is_told_apart_is_bounded_and_forgotten() {
        let (limiter, clock) = limiter(1);
        for number in 0..MAX_CLIENTS {
            assert!(limiter.admits(LOG_IN, numbered(number)));
        }
        for action in [LOG_IN, SIGN_UP] {
            let further = MAX_CLIENTS..MAX_CLIENTS + 1000;
            let admitted =
                further.filter(|number| limiter.admits(action.clone(), numbered(*number)));
            assert_eq!(
                admitted.count(),
                1,
                "they share one allowance for each action"
            );
        }
        assert_eq!(limiter.0.len(), MAX_CLIENTS + 2);
        assert!(!limiter.admits(LOG_IN, numbered(0)), "it is still known");
        for number in 0..2 * MAX_ACTIONS {
            limiter.admits(format!("made.up_{number}").into(), numbered(0));
        }
        assert_eq!(limiter.0.len(), MAX_CLIENTS + MAX_ACTIONS + 1);

        limiter.tidy();
        assert_eq!(
            limiter.0.len(),
            MAX_CLIENTS + MAX_ACTIONS + 1,
            "none has recovered"
        );
        clock.advance(Duration::from_secs(120));
        assert!(limiter.admits(LOG_IN, numbered(7)));
        limiter.tidy();
        assert_eq!(limiter.0.len(), 1);
        let keys = limiter.0.into_state_store();
        assert!(keys.lock().capacity() < 100, "its memory is given back");
    }

    #[test]
    fn a_summary_is_bounded_and_adds_up() {
        let flood = Flood::new(PER_MINUTE);
        for number in 0..2 * MAX_CLIENTS {
            flood.suppress(&Anonymous {
                action: format!("made.up_{}", number % 500).into(),
                client: numbered(number),
                admitted: OnceLock::new(),
            });
        }
        let often = Anonymous::of(&Actor::anonymous(), LOG_IN, None).unwrap();
        flood.suppress(&often);
        for _ in 0..5 {
            flood.suppress(&Anonymous {
                action: "made.up_1".into(),
                client: numbered(1),
                admitted: OnceLock::new(),
            });
        }
        // Writing it failed, and something came in between.
        let taken = flood.take().unwrap();
        flood.suppress(&often);
        drop(taken);

        let mut taken = flood.take().unwrap();
        let counts = taken.counts.take().unwrap();
        assert_eq!(counts.total, 20_007);
        assert_eq!(counts.by_action.values().sum::<u64>(), 20_007);
        assert_eq!(counts.by_client.len(), MAX_CLIENTS);
        assert!(counts.since <= counts.until);
        let details = counts.details();
        let by_action = details["by_action"].as_object().unwrap();
        assert_eq!(by_action.len(), MAX_ACTIONS + 1);
        assert!(by_action.contains_key(OTHER));
        let top = details["top_addresses"].as_object().unwrap();
        assert_eq!(top.len(), TOP);
        assert_eq!(top["0.0.0.1"], 6);
        drop(taken);
        assert!(flood.take().is_none());
    }
}
