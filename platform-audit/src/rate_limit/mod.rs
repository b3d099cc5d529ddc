//! Keeps a flood of attempts from filling the audit table: what is over a limit is counted in one
//! summarising record a minute.

mod limiter;
mod summary;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock};

use governor::clock::DefaultClock;
use jiff::Timestamp;
use serde_json::{Map, Value};

use self::limiter::{Client, Limiter};
use self::summary::Suppressed;
use crate::lock::lock;
use crate::record::{Actor, ActorKind};

/// Anonymous attempts a minute that are recorded one by one, for each action and address, unless
/// the service says otherwise.
pub(crate) const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// What a unit of work is limited by, should it become an attempt.
#[derive(Debug)]
pub(crate) struct LimitKey {
    action: Cow<'static, str>,
    client: Client,
    /// Decided once, as an answer may have to tell before the attempt is recorded.
    admitted: OnceLock<bool>,
}

/// The limits on attempts, and the count of those over them.
pub(crate) struct RateLimiter {
    anonymous: Limiter,
    /// For each actor who is known, if the service limits them.
    actors: Option<Limiter>,
    suppressed: Mutex<Option<Suppressed>>,
    /// Held while a summary is written, so that a shutdown waits for that of the last minute.
    summarising: tokio::sync::Mutex<()>,
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// With how many attempts a minute are recorded of each anonymous client and of each actor.
    pub(crate) fn new(anonymous: NonZeroU32, actor: Option<NonZeroU32>) -> Self {
        let limiter = |per_minute| Limiter::new(per_minute, DefaultClock::default());
        Self {
            anonymous: limiter(anonymous),
            actors: actor.map(limiter),
            suppressed: Mutex::new(None),
            summarising: tokio::sync::Mutex::new(()),
        }
    }

    /// What limits a unit of work of `actor`, if anything does.
    pub(crate) fn limit(
        &self,
        actor: &Actor,
        action: Cow<'static, str>,
        address: Option<IpAddr>,
    ) -> Option<Arc<LimitKey>> {
        let client = match actor.kind {
            ActorKind::Anonymous => Client::at(address),
            _ if self.actors.is_some() => Client::actor(actor),
            _ => return None,
        };
        Some(Arc::new(LimitKey {
            action,
            client,
            admitted: OnceLock::new(),
        }))
    }

    /// Whether an attempt may be recorded. Once it was said of one, it stays so.
    pub(crate) fn admits(&self, attempt: Option<&LimitKey>) -> bool {
        attempt.is_none_or(|attempt| {
            let limiter = match attempt.client {
                Client::Actor(_) => self.actors.as_ref(),
                _ => Some(&self.anonymous),
            };
            let admits = || {
                limiter.is_none_or(|it| it.admits(attempt.action.clone(), attempt.client.clone()))
            };
            *attempt.admitted.get_or_init(admits)
        })
    }

    /// Waits until no other summary is being written.
    pub(crate) async fn one_summary_at_a_time(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.summarising.lock().await
    }

    /// Forgets the clients that have their whole allowance again.
    pub(crate) fn tidy(&self) {
        self.anonymous.tidy();
        if let Some(actors) = &self.actors {
            actors.tidy();
        }
    }

    /// Counts an attempt that is not admitted.
    pub(crate) fn suppress(&self, attempt: &LimitKey) {
        let now = Timestamp::now();
        let mut suppressed = lock(&self.suppressed);
        let suppressed = suppressed.get_or_insert_with(|| Suppressed::none(now));
        suppressed.until = suppressed.until.max(now);
        suppressed.total += 1;
        suppressed.add_action(attempt.action.clone(), 1);
        suppressed.add_client(attempt.client.clone(), 1);
    }

    /// Takes the counts, to be written.
    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        let counts = lock(&self.suppressed).take()?;
        Some(Taken {
            limiter: self,
            counts: Some(counts),
        })
    }
}

impl Drop for RateLimiter {
    fn drop(&mut self) {
        if let Some(left) = lock(&self.suppressed).take() {
            let text = Value::Object(left.details()).to_string();
            tracing::error!(
                suppressed = text,
                "attempts were counted after the last summary, as auditing was not shut down; this event is all that is left of them"
            );
        }
    }
}

/// Counts that go back unless they were written, even if writing them is cut off.
pub(crate) struct Taken<'a> {
    limiter: &'a RateLimiter,
    counts: Option<Suppressed>,
}

impl Taken<'_> {
    /// What the summary's record says of them.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let counts = self.counts.as_ref();
        counts.map(Suppressed::details).unwrap_or_default()
    }

    /// The counts were written, or reported, and do not go back.
    pub(crate) fn written(&mut self) {
        self.counts = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(mut counts) = self.counts.take() else {
            return;
        };
        let mut suppressed = lock(&self.limiter.suppressed);
        if let Some(later) = suppressed.take() {
            counts.join(later);
        }
        *suppressed = Some(counts);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::limiter::{MAX_ACTIONS, MAX_CLIENTS};
    use super::summary::{OTHER, TOP_ACTORS, TOP_ADDRESSES};
    use super::*;

    fn numbered(number: usize) -> Client {
        Client::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()))
    }

    #[test]
    fn a_summary_is_bounded_and_adds_up() {
        let limiter = RateLimiter::new(PER_MINUTE, None);
        for number in 0..2 * MAX_CLIENTS {
            limiter.suppress(&LimitKey {
                action: format!("made.up_{}", number % 500).into(),
                client: numbered(number),
                admitted: OnceLock::new(),
            });
        }
        let often = limiter
            .limit(&Actor::anonymous(), "user.log_in".into(), None)
            .unwrap();
        limiter.suppress(&often);
        for _ in 0..5 {
            limiter.suppress(&LimitKey {
                action: "made.up_1".into(),
                client: numbered(1),
                admitted: OnceLock::new(),
            });
        }
        // Writing it failed, and something came in between.
        let taken = limiter.take().unwrap();
        limiter.suppress(&often);
        drop(taken);

        let mut taken = limiter.take().unwrap();
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
        assert_eq!(top.len(), TOP_ADDRESSES);
        assert_eq!(top["0.0.0.1"], 6);
        drop(taken);
        assert!(limiter.take().is_none());
    }
    #[test]
    fn a_summary_lists_the_busiest_actors_and_takes_none_for_an_address() {
        let flood = RateLimiter::new(PER_MINUTE, Some(PER_MINUTE));
        let busiest = 2 * TOP_ACTORS;
        for number in 1..=busiest {
            let actor = Actor::user(format!("user-{number}"));
            let attempt = flood.limit(&actor, "user.log_in".into(), None).unwrap();
            for _ in 0..number {
                flood.suppress(&attempt);
            }
        }
        let mut taken = flood.take().unwrap();
        let details = taken.counts.take().unwrap().details();
        let listed = details["top_actors"].as_array().unwrap();
        let counts: Vec<_> = listed
            .iter()
            .map(|it| it["suppressed"].as_u64().unwrap())
            .collect();
        let most = busiest as u64;
        let expected: Vec<_> = (most - TOP_ACTORS as u64 + 1..=most).rev().collect();
        assert_eq!(counts, expected);
        assert_eq!(listed[0]["id"], format!("user-{busiest}"));
        assert_eq!(details["top_addresses"], serde_json::json!({}));
    }
}
