//! What a summary says of the attempts that were not recorded one by one.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::limiter::{Client, MAX_ACTIONS, MAX_CLIENTS};

/// The most addresses that a summary lists.
pub(super) const TOP_ADDRESSES: usize = 20;

/// The most actors that it lists, whose ids are longer.
pub(super) const TOP_ACTORS: usize = 10;

/// Where it counts the actions that it has no room for. No action has such a name.
pub(super) const OTHER: &str = "other";

/// What was not recorded one by one since the last summary.
#[derive(Debug, PartialEq)]
pub(super) struct Suppressed {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) total: u64,
    /// At most [`MAX_ACTIONS`], and [`OTHER`].
    pub(super) by_action: HashMap<Cow<'static, str>, u64>,
    /// At most [`MAX_CLIENTS`].
    pub(super) by_client: HashMap<Client, u64>,
}

impl Suppressed {
    pub(super) fn none(at: Timestamp) -> Self {
        Self {
            since: at,
            until: at,
            total: 0,
            by_action: HashMap::new(),
            by_client: HashMap::new(),
        }
    }

    pub(super) fn add_action(&mut self, action: Cow<'static, str>, count: u64) {
        let known = has_room(&self.by_action, &action, MAX_ACTIONS);
        let action = if known { action } else { OTHER.into() };
        *self.by_action.entry(action).or_default() += count;
    }

    pub(super) fn add_client(&mut self, client: Client, count: u64) {
        if has_room(&self.by_client, &client, MAX_CLIENTS) {
            *self.by_client.entry(client).or_default() += count;
        }
    }

    /// Takes in what was counted after it.
    pub(super) fn join(&mut self, later: Self) {
        self.until = self.until.max(later.until);
        self.total += later.total;
        for (action, count) in later.by_action {
            self.add_action(action, count);
        }
        for (client, count) in later.by_client {
            self.add_client(client, count);
        }
    }

    /// The summary's details, which are below their bound.
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

fn has_room<K: Eq + Hash>(counts: &HashMap<K, u64>, key: &K, most: usize) -> bool {
    counts.len() < most || counts.contains_key(key)
}
