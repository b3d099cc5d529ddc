//! What a query of several values costs, and its bounds.

use std::collections::BTreeSet;

use super::filter::refused;
use super::{AuditQuery, SortBy};
use crate::error::Error;

/// Most values of a list, each of which costs a page as much as a query of its own.
const MOST_LISTED: usize = 100;

impl AuditQuery {
    /// Queries that together ask for the same records, and no two for the same one. Sorted by time,
    /// each is read from the end of an index; of several values of a column, Postgres would read and
    /// sort all records. So there is one for each value of the first list that has such an index.
    pub(super) fn parts(&self) -> Vec<Self> {
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
                // What begins so has no index, and may include another value.
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

    /// Refuses a query that nothing can meet, as that nothing was found would be taken for an answer,
    /// and one whose statement would have no bound.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(Error::InvalidQuery(format!(
                "nothing can be since {since} and before {until}: name a period that ends after it begins"
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
            if values > MOST_LISTED {
                let what = format!("{values} values, and {MOST_LISTED} at most: ask several times");
                return Err(refused(name, &what));
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
    fn a_query_is_read_in_parts_that_have_an_index() {
        let actors = || AuditQuery::new().actor("ada").actor("bob");
        let parts = actors().action("a.b").parts();
        let only = |actor| AuditQuery::new().actor(actor).action("a.b");
        assert_eq!(parts, [only("ada"), only("bob")]);
        let mut twice = actors();
        twice.actor.push("ada".to_owned());
        assert_eq!(twice.parts().len(), 2, "no record comes twice");
        for whole in [
            AuditQuery::new().actor("ada"),
            AuditQuery::new().action("a.b").action("a.*"),
            actors().sort(SortBy::Action, Direction::Ascending),
        ] {
            assert_eq!(whole.parts(), [whole]);
        }
    }

    #[test]
    fn a_list_has_a_bound() {
        let mut query = AuditQuery::new();
        query.actor = (0..101).map(|n| n.to_string()).collect();
        let error = query.check().unwrap_err().to_string();
        assert!(error.contains("actor: 101 values"), "{error}");
        query.actor.pop();
        query.check().unwrap();
    }
}
