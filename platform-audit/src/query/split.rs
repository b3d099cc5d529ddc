//! Bounds on a query's lists, and splitting a query into index-friendly parts.

use std::collections::BTreeSet;

use super::filter::field_error;
use super::{AuditQuery, SortBy};
use crate::error::Error;

/// Maximum number of values in a list. Each value costs a page as much as a separate query.
const MAX_LIST_VALUES: usize = 100;

impl AuditQuery {
    /// Splits the query into disjoint queries that together match the same records, one for each
    /// value of the first indexed list.
    ///
    /// Sorted by time, each part reads from the end of an index. For a condition with several
    /// values, Postgres would read and sort all matching records instead.
    pub(super) fn split(&self) -> Vec<Self> {
        let lists: [fn(&mut Self) -> &mut Vec<String>; 5] = [
            |query| &mut query.request_id,
            |query| &mut query.trace_id,
            |query| &mut query.resource_id,
            |query| &mut query.actor,
            |query| &mut query.action,
        ];
        if self.sort == SortBy::RecordedAt {
            for list in lists {
                let mut query = self.clone();
                let values: BTreeSet<String> =
                    std::mem::take(list(&mut query)).into_iter().collect();
                // A prefix has no index and may overlap with another value.
                let is_exact = values.iter().all(|value| !value.ends_with('*'));
                if values.len() > 1 && is_exact {
                    let only = |value| {
                        let mut part = query.clone();
                        list(&mut part).push(value);
                        part
                    };
                    return values.into_iter().map(only).collect();
                }
            }
        }
        vec![self.clone()]
    }

    /// Fails if no record can match, because an empty result would look like proof that there are
    /// no such records, and if a list has too many values.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(Error::InvalidQuery(format!(
                "no record can be since {since} and before {until}: `until` has to be later than `since`"
            )));
        }
        for (name, values) in [
            ("actor", self.actor.len()),
            ("action", self.action.len()),
            ("resource_type", self.resource_type.len()),
            ("resource_id", self.resource_id.len()),
            ("tenant", self.tenant.len()),
            ("service", self.service.len()),
            ("client_address", self.client_address.len()),
            ("method", self.method.len()),
            ("route", self.route.len()),
            ("request_id", self.request_id.len()),
            ("trace_id", self.trace_id.len()),
            ("record_id", self.record_id.len()),
            ("changed", self.changed.len()),
        ] {
            if values > MAX_LIST_VALUES {
                let what = format!(
                    "{values} values, at most {MAX_LIST_VALUES} are allowed: split the query"
                );
                return Err(field_error(name, &what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::AuditQuery;
    use crate::query::{Direction, SortBy};

    #[test]
    fn a_query_with_several_values_is_split_into_parts_that_have_an_index() {
        let actors = || AuditQuery::new().actor("ada").actor("bob");
        let parts = actors().action("a.b").split();
        let only = |actor| AuditQuery::new().actor(actor).action("a.b");
        assert_eq!(parts, [only("ada"), only("bob")]);
        let mut twice = actors();
        twice.actor.push("ada".to_owned());
        assert_eq!(
            twice.split().len(),
            2,
            "duplicate values make no second part"
        );
        for whole in [
            AuditQuery::new().actor("ada"),
            AuditQuery::new().action("a.b").action("a.*"),
            actors().sort(SortBy::Action, Direction::Ascending),
        ] {
            assert_eq!(whole.split(), [whole]);
        }
    }

    #[test]
    fn a_list_has_at_most_100_values() {
        let mut query = AuditQuery::new();
        query.actor = (0..101).map(|n| n.to_string()).collect();
        let error = query.check().unwrap_err().to_string();
        assert!(error.contains("actor: 101 values"), "{error}");
        query.actor.pop();
        query.check().unwrap();
    }
}
