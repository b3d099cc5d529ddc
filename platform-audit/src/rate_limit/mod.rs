//! Prevents a flood of attempts from filling the audit table: attempts over the limit are counted
//! in one summary record per minute.

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

/// The default number of anonymous attempts per minute that are recorded individually, for each
/// action and address.
pub(crate) const ANONYMOUS_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// The action and client by which an operation is rate-limited if it becomes an attempt.
#[derive(Debug)]
pub(crate) struct LimitKey {
    action: Cow<'static, str>,
    client: Client,
    /// Decided only once, because the response may depend on the decision before the attempt is
    /// recorded.
    admitted: OnceLock<bool>,
}

/// Limits recorded attempts, and counts those over the limit.
pub(crate) struct RateLimiter {
    anonymous: Limiter,
    /// For authenticated actors, if the service limits them.
    actors: Option<Limiter>,
    suppressed: Mutex<Option<Suppressed>>,
    /// Held while a summary is written, so that a shutdown waits for the previous summary.
    summary_lock: tokio::sync::Mutex<()>,
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// The arguments are the attempts per minute that are recorded for each anonymous client and
    /// for each actor. `None` does not limit actors.
    pub(crate) fn new(anonymous: NonZeroU32, actor: Option<NonZeroU32>) -> Self {
        let limiter = |per_minute| Limiter::new(per_minute, DefaultClock::default());
        Self {
            anonymous: limiter(anonymous),
            actors: actor.map(limiter),
            suppressed: Mutex::new(None),
            summary_lock: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the key of an operation of `actor`, or `None` if it is not limited.
    pub(crate) fn key(
        &self,
        actor: &Actor,
        action: Cow<'static, str>,
        address: Option<IpAddr>,
    ) -> Option<Arc<LimitKey>> {
        let client = match actor.kind {
            ActorKind::Anonymous => Client::from_address(address),
            _ if self.actors.is_some() => Client::from_actor(actor),
            _ => return None,
        };
        Some(Arc::new(LimitKey {
            action,
            client,
            admitted: OnceLock::new(),
        }))
    }

    /// Returns whether an attempt may be recorded. Repeated calls with the same key return the same
    /// result.
    pub(crate) fn admits(&self, key: Option<&LimitKey>) -> bool {
        key.is_none_or(|key| {
            let limiter = match key.client {
                Client::Actor(_) => self.actors.as_ref(),
                _ => Some(&self.anonymous),
            };
            let admits =
                || limiter.is_none_or(|it| it.admits(key.action.clone(), key.client.clone()));
            *key.admitted.get_or_init(admits)
        })
    }

    /// Waits until no other summary is being written.
    pub(crate) async fn lock_summary(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.summary_lock.lock().await
    }

    /// Removes the clients whose quota is full again.
    pub(crate) fn evict_idle(&self) {
        self.anonymous.evict_idle();
        if let Some(actors) = &self.actors {
            actors.evict_idle();
        }
    }

    /// Counts an attempt over the limit.
    pub(crate) fn suppress(&self, key: &LimitKey) {
        let now = Timestamp::now();
        let mut suppressed = lock(&self.suppressed);
        let suppressed = suppressed.get_or_insert_with(|| Suppressed::new(now));
        suppressed.until = suppressed.until.max(now);
        suppressed.total += 1;
        suppressed.add_action(key.action.clone(), 1);
        suppressed.add_client(key.client.clone(), 1);
    }

    /// Takes the counts in order to write a summary.
    pub(crate) fn take_summary(&self) -> Option<PendingSummary<'_>> {
        let counts = lock(&self.suppressed).take()?;
        Some(PendingSummary {
            limiter: self,
            counts: Some(counts),
        })
    }
}

impl Drop for RateLimiter {
    fn drop(&mut self) {
        if let Some(unwritten) = lock(&self.suppressed).take() {
            let text = Value::Object(unwritten.details()).to_string();
            tracing::error!(
                suppressed = text,
                "these rate-limited attempts have no summary record, as auditing was not shut down: call Audit::shutdown before the service exits; this event is their only copy"
            );
        }
    }
}

/// Counts that are being written. On drop they are returned to the limiter unless they were
/// written, even if the write was cancelled.
pub(crate) struct PendingSummary<'a> {
    limiter: &'a RateLimiter,
    counts: Option<Suppressed>,
}

impl PendingSummary<'_> {
    /// The details of the summary record.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let counts = self.counts.as_ref();
        counts.map(Suppressed::details).unwrap_or_default()
    }

    /// Discards the counts after they were written or logged.
    pub(crate) fn mark_written(&mut self) {
        self.counts = None;
    }
}

impl Drop for PendingSummary<'_> {
    fn drop(&mut self) {
        let Some(mut counts) = self.counts.take() else {
            return;
        };
        let mut suppressed = lock(&self.limiter.suppressed);
        if let Some(later) = suppressed.take() {
            counts.merge(later);
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
    fn a_summary_is_bounded_and_its_counts_add_up() {
        let limiter = RateLimiter::new(ANONYMOUS_PER_MINUTE, None);
        for number in 0..2 * MAX_CLIENTS {
            limiter.suppress(&LimitKey {
                action: format!("made.up_{}", number % 500).into(),
                client: numbered(number),
                admitted: OnceLock::new(),
            });
        }
        let log_in = limiter
            .key(&Actor::anonymous(), "user.log_in".into(), None)
            .unwrap();
        limiter.suppress(&log_in);
        for _ in 0..5 {
            limiter.suppress(&LimitKey {
                action: "made.up_1".into(),
                client: numbered(1),
                admitted: OnceLock::new(),
            });
        }
        // The write fails, and another attempt is counted in between.
        let pending = limiter.take_summary().unwrap();
        limiter.suppress(&log_in);
        drop(pending);

        let mut pending = limiter.take_summary().unwrap();
        let counts = pending.counts.take().unwrap();
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
        drop(pending);
        assert!(limiter.take_summary().is_none());
    }

    #[test]
    fn a_summary_lists_the_actors_with_the_most_attempts_but_not_as_addresses() {
        let limiter = RateLimiter::new(ANONYMOUS_PER_MINUTE, Some(ANONYMOUS_PER_MINUTE));
        let actors = 2 * TOP_ACTORS;
        for number in 1..=actors {
            let actor = Actor::user(format!("user-{number}"));
            let attempt = limiter.key(&actor, "user.log_in".into(), None).unwrap();
            for _ in 0..number {
                limiter.suppress(&attempt);
            }
        }
        let mut pending = limiter.take_summary().unwrap();
        let details = pending.counts.take().unwrap().details();
        let listed = details["top_actors"].as_array().unwrap();
        let counts: Vec<_> = listed
            .iter()
            .map(|it| it["suppressed"].as_u64().unwrap())
            .collect();
        let most = actors as u64;
        let expected: Vec<_> = (most - TOP_ACTORS as u64 + 1..=most).rev().collect();
        assert_eq!(counts, expected);
        assert_eq!(listed[0]["id"], format!("user-{actors}"));
        assert_eq!(details["top_addresses"], serde_json::json!({}));
    }
}
