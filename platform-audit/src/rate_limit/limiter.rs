//! Limits how many attempts of each client are recorded individually.

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
use crate::record::{ACTOR_LIMIT, Actor};

/// The maximum number of pairs of an action and a client with their own quota; about 1 MB.
pub(super) const MAX_CLIENTS: usize = 10_000;

/// The maximum number of actions whose further clients share a quota, and of actions in a summary.
pub(super) const MAX_ACTIONS: usize = 100;

/// The origin of an attempt, by properties that a client cannot choose freely.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Client {
    Unknown,
    V4(Ipv4Addr),
    /// The first address of a /64, the smallest network that a subscriber is assigned.
    V6(Ipv6Addr),
    /// An authenticated actor, from any address.
    Actor(Arc<ActorKey>),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ActorKey {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) tenant: Option<String>,
}

impl Client {
    pub(super) fn from_address(address: Option<IpAddr>) -> Self {
        // A dual-stack socket reports the IPv4 address a.b.c.d as ::ffff:a.b.c.d.
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                Self::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
            }
        }
    }

    pub(super) fn from_actor(actor: &Actor) -> Self {
        // The same limit as in a record, to bound the memory.
        let bounded = |text: &String| text[..text.floor_char_boundary(ACTOR_LIMIT)].to_owned();
        Self::Actor(Arc::new(ActorKey {
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

/// What a quota applies to: an action and a client; all other clients of an action (no client); or
/// all other attempts (neither).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    action: Option<Cow<'static, str>>,
    client: Option<Client>,
}

/// The limiter's state, with at most `MAX_CLIENTS + MAX_ACTIONS + 1` keys.
#[derive(Default)]
struct BoundedStore(Mutex<HashMap<Key, Nanos>>);

impl BoundedStore {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Nanos>> {
        lock(&self.0)
    }
}

impl StateStore for BoundedStore {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.lock();
        let fits = |key: &Key, max| keys.len() < max || keys.contains_key(key);
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

impl ShrinkableKeyedStateStore<Key> for BoundedStore {
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

/// A quota of recorded attempts for each key. Tests replace the clock.
pub(super) struct Limiter<C: Clock = DefaultClock>(
    RateLimiter<Key, BoundedStore, C, NoOpMiddleware<<C as Clock>::Instant>>,
);

impl<C: Clock> Limiter<C> {
    pub(super) fn new(per_minute: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute);
        Self(RateLimiter::new(quota, BoundedStore::default(), clock))
    }

    /// Returns whether an attempt is within its quota, and subtracts the attempt from the quota.
    pub(super) fn admits(&self, action: Cow<'static, str>, client: Client) -> bool {
        let key = Key {
            action: Some(action),
            client: Some(client),
        };
        self.0.check_key(&key).is_ok()
    }

    /// Removes the keys whose quota is full again.
    pub(super) fn evict_idle(&self) {
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
        Client::from_address(Some(address.parse().unwrap()))
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
    fn ipv6_addresses_in_one_64_are_one_client() {
        let one = client("2001:db8:1:2::1");
        assert_eq!(one, client("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(one, client("2001:db8:1:3::1"));
        assert_eq!(one.to_string(), "2001:db8:1:2::/64");
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        // On a dual-stack socket, IPv4 clients must not all fall into one /64.
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(Client::from_address(None).to_string(), "unknown");
    }

    #[test]
    fn each_client_and_action_has_its_own_quota_per_minute() {
        let (limiter, clock) = limiter(30);
        let admitted = |action: Cow<'static, str>, client: Client| {
            let attempts = 0..100;
            attempts
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
    fn the_number_of_keys_is_bounded_and_idle_keys_are_evicted() {
        let (limiter, clock) = limiter(1);
        for number in 0..MAX_CLIENTS {
            assert!(limiter.admits(LOG_IN, numbered(number)));
        }
        for action in [LOG_IN, SIGN_UP] {
            let further = MAX_CLIENTS..MAX_CLIENTS + 1000;
            let admitted =
                further.filter(|number| limiter.admits(action.clone(), numbered(*number)));
            assert_eq!(admitted.count(), 1, "they share one quota for each action");
        }
        assert_eq!(limiter.0.len(), MAX_CLIENTS + 2);
        assert!(
            !limiter.admits(LOG_IN, numbered(0)),
            "it still has its own quota"
        );
        for number in 0..2 * MAX_ACTIONS {
            limiter.admits(format!("made.up_{number}").into(), numbered(0));
        }
        assert_eq!(limiter.0.len(), MAX_CLIENTS + MAX_ACTIONS + 1);

        limiter.evict_idle();
        assert_eq!(
            limiter.0.len(),
            MAX_CLIENTS + MAX_ACTIONS + 1,
            "no quota is full again"
        );
        clock.advance(Duration::from_secs(120));
        assert!(limiter.admits(LOG_IN, numbered(7)));
        limiter.evict_idle();
        assert_eq!(limiter.0.len(), 1);
        let keys = limiter.0.into_state_store();
        assert!(keys.lock().capacity() < 100, "its memory is released");
    }

    #[test]
    fn actors_are_distinguished_by_kind_tenant_and_id() {
        let ada = Client::from_actor(&Actor::user("ada"));
        assert_eq!(ada, Client::from_actor(&Actor::user("ada")));
        for other in [
            Actor::user("eve"),
            Actor::service("ada"),
            Actor::user("ada").with_tenant("clinic-7"),
        ] {
            assert_ne!(ada, Client::from_actor(&other));
        }
        let long = Client::from_actor(&Actor::user("é".repeat(1_000)));
        assert_eq!(long.to_string().len(), ACTOR_LIMIT);
    }

    #[test]
    fn idle_keys_of_anonymous_clients_and_of_actors_are_both_evicted() {
        // A quota that is full again within nanoseconds.
        let limiter = RateLimiter::new(NonZeroU32::MAX, Some(NonZeroU32::MAX));
        for actor in [Actor::anonymous(), Actor::user("ada")] {
            let attempt = limiter.key(&actor, LOG_IN, None);
            assert!(attempt.is_some() && limiter.admits(attempt.as_deref()));
        }
        let keys = || limiter.anonymous.0.len() + limiter.actors.as_ref().unwrap().0.len();
        assert_eq!(keys(), 2);
        let evicted = (0..1_000).any(|_| {
            limiter.evict_idle();
            keys() == 0
        });
        assert!(evicted, "{} are left", keys());
    }
}
