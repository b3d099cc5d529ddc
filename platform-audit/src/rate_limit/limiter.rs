//! How many attempts of one client are recorded one by one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::lock::lock;
use crate::record::{Actor, Limit};

/// The most pairs of an action and a client that are told apart; about 1 MB.
pub(super) const MAX_CLIENTS: usize = 10_000;

/// The most actions that are told apart beyond that, and in a summary.
pub(super) const MAX_ACTIONS: usize = 100;

/// Whom an attempt came from, as far as a client cannot choose it at will.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Client {
    Unknown,
    V4(Ipv4Addr),
    /// The first address of a /64: the least that a subscriber is given.
    V6(Ipv6Addr),
    /// Who has signed in, from wherever.
    Actor(Arc<KnownActor>),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KnownActor {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) tenant: Option<String>,
}

impl Client {
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        // An IPv4 client of a dual-stack socket arrives as ::ffff:a.b.c.d.
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                Self::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
            }
        }
    }

    pub(super) fn actor(actor: &Actor) -> Self {
        // As long as a record keeps them, so that memory is bounded.
        let bounded = |text: &String| text[..text.floor_char_boundary(Limit::ACTOR)].to_owned();
        Self::Actor(Arc::new(KnownActor {
            kind: actor.kind.as_str(),
            id: bounded(&actor.id),
            tenant: actor.tenant.as_ref().map(bounded),
        }))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "{address}/64"),
            Self::Actor(actor) => f.write_str(&actor.id),
        }
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
pub(super) struct Limiter<C: Clock = DefaultClock>(
    RateLimiter<Key, Keys, C, NoOpMiddleware<<C as Clock>::Instant>>,
);

impl<C: Clock> Limiter<C> {
    pub(super) fn new(per_minute: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute);
        Self(RateLimiter::new(quota, Keys::default(), clock))
    }

    pub(super) fn admits(&self, action: Cow<'static, str>, client: Client) -> bool {
        let key = Key {
            action: Some(action),
            client: Some(client),
        };
        self.0.check_key(&key).is_ok()
    }

    /// Forgets the keys that have their whole allowance again.
    pub(super) fn tidy(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::RateLimiter;
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn client(address: &str) -> Client {
        Client::at(Some(address.parse().unwrap()))
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
        assert_eq!(Client::at(None).to_string(), "unknown");
    }

    #[test]
    fn a_client_has_its_allowance_each_minute_and_for_each_action() {
        let (limiter, clock) = limiter(30);
        let admitted = |action: Cow<'static, str>, client: Client| {
            let tries = 0..100;
            tries
                .filter(|_| limiter.admits(action.clone(), client.clone()))
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
    fn actors_are_told_apart_by_kind_tenant_and_id() {
        let ada = Client::actor(&Actor::user("ada"));
        assert_eq!(ada, Client::actor(&Actor::user("ada")));
        for other in [
            Actor::user("eve"),
            Actor::service("ada"),
            Actor::user("ada").with_tenant("clinic-7"),
        ] {
            assert_ne!(ada, Client::actor(&other));
        }
        let long = Client::actor(&Actor::user("é".repeat(1_000)));
        assert_eq!(long.to_string().len(), Limit::ACTOR);
    }
    #[test]
    fn anonymous_clients_and_known_actors_are_both_forgotten_once_recovered() {
        // An allowance that recovers within nanoseconds.
        let flood = RateLimiter::new(NonZeroU32::MAX, Some(NonZeroU32::MAX));
        for actor in [Actor::anonymous(), Actor::user("ada")] {
            let attempt = flood.limit(&actor, LOG_IN, None);
            assert!(attempt.is_some() && flood.admits(attempt.as_deref()));
        }
        let known = || flood.anonymous.0.len() + flood.actors.as_ref().unwrap().0.len();
        assert_eq!(known(), 2);
        let recovered = (0..1_000).any(|_| {
            flood.tidy();
            known() == 0
        });
        assert!(recovered, "{} are still known", known());
    }
}
