//! The summary of attempts over the rate limit.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::limiter::{Client, MAX_ACTIONS, MAX_CLIENTS};

/// The maximum number of addresses in a summary.
pub(super) const TOP_ADDRESSES: usize = 20;

/// The maximum number of actors in a summary; their ids are longer than addresses.
pub(super) const TOP_ACTORS: usize = 10;

/// Counts the actions over [`MAX_ACTIONS`]. It is not a valid action.
pub(super) const OTHER: &str = "other";

/// The counts of attempts over the limit since the last summary.
#[derive(Debug, PartialEq)]
pub(super) struct Suppressed {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) total: u64,
    /// At most [`MAX_ACTIONS`] entries, and [`OTHER`].
    pub(super) by_action: HashMap<Cow<'static, str>, u64>,
    /// At most [`MAX_CLIENTS`] entries.
    pub(super) by_client: HashMap<Client, u64>,
}

impl Suppressed {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            since: at,
            until: at,
            total: 0,
            by_action: HashMap::new(),
            by_client: HashMap::new(),
        }
    }

    pub(super) fn add_action(&mut self, action: Cow<'static, str>, count: u64) {
        let fits = has_room(&self.by_action, &action, MAX_ACTIONS);
        let action = if fits { action } else { OTHER.into() };
        *self.by_action.entry(action).or_default() += count;
    }

    pub(super) fn add_client(&mut self, client: Client, count: u64) {
        if has_room(&self.by_client, &client, MAX_CLIENTS) {
            *self.by_client.entry(client).or_default() += count;
        }
    }

    /// Adds counts that were taken later.
    pub(super) fn merge(&mut self, later: Self) {
        self.until = self.until.max(later.until);
        self.total += later.total;
        for (action, count) in later.by_action {
            self.add_action(action, count);
        }
        for (client, count) in later.by_client {
            self.add_client(client, count);
        }
    }

    /// The details of the summary record. They are always within their size limit.
    pub(super) fn details(&self) -> Map<String, Value> {
        let by_action = self.by_action.iter();
        let by_action = by_action.map(|(action, count)| (action.to_string(), Value::from(*count)));
        let mut clients: Vec<_> = self.by_client.iter().collect();
        clients.sort_unstable_by_key(|&(client, count)| (Reverse(*count), client));
        let (mut actors, mut addresses) = (Vec::new(), Map::new());
        for (client, count) in clients {
            match client {
                Client::Actor(actor) if actors.len() < TOP_ACTORS => actors.push(json!({
                    "kind": actor.kind, "id": actor.id, "tenant": actor.tenant, "suppressed": count,
                })),
                Client::Actor(_) => {}
                _ if addresses.len() < TOP_ADDRESSES => {
                    addresses.insert(client.to_string(), Value::from(*count));
                }
                _ => {}
            }
        }
        let details = [
            ("suppressed", Value::from(self.total)),
            ("since", Value::from(self.since.to_string())),
            ("until", Value::from(self.until.to_string())),
            ("by_action", Value::Object(by_action.collect())),
            ("top_addresses", Value::Object(addresses)),
            ("top_actors", Value::Array(actors)),
        ];
        details
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

fn has_room<K: Eq + Hash>(counts: &HashMap<K, u64>, key: &K, max: usize) -> bool {
    counts.len() < max || counts.contains_key(key)
}
