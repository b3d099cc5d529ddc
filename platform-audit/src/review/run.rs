use serde::Serialize;

use super::{OfficeHours, Review};
use crate::error::Error;
use crate::query::{Count, GroupBy, MAX_VALUES, Reading};
use crate::record::AuditRecord;
use crate::store::AuditDatabase;

/// Maximum number of records in a verdict, unless there are more breaches: then one of each.
const MAX_LISTED: u16 = 100;

/// The result of a review.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The review's name.
    pub name: String,
    /// What the review checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the review passed.
    pub passed: bool,
    /// The number of records counted.
    pub found: u64,
    /// The bounds that were violated.
    pub breaches: Vec<Breach>,
    /// The records of the breaches, in the order of `breaches`; the records of one breach are
    /// newest first, and [`Breach::listed`] is their number.
    ///
    /// At most 100 in total, divided equally among the breaches, but at least one of each.
    pub records: Vec<AuditRecord>,
}

/// A count that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Breach {
    /// The value, if the review counts separately for each value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The number of records counted.
    pub found: u64,
    /// How many of them [`Verdict::records`] lists.
    pub listed: u64,
    /// Minimum number of records.
    pub at_least: u64,
    /// Maximum number of records, if there is a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

impl Review {
    /// Runs the query and compares the result with the bounds.
    ///
    /// # Errors
    ///
    /// The same as [`Reading::page`]; [`Error::InvalidQuery`] also if a review with `per` covers
    /// more than [`MAX_VALUES`] periods.
    pub async fn run<DB: AuditDatabase>(&self, reading: &Reading<DB>) -> Result<Verdict, Error> {
        match (self.per, &self.outside) {
            (Some(group), _) => self.run_per_value(reading, group).await,
            (None, Some(hours)) => self.run_outside_hours(reading, hours).await,
            (None, None) => self.run_total(reading).await,
        }
    }

    async fn run_total<DB: AuditDatabase>(&self, reading: &Reading<DB>) -> Result<Verdict, Error> {
        let found = reading.count(&self.query).await?;
        let records = if found > self.at_most {
            let shown = self.query.clone().limit(MAX_LISTED);
            reading.page(&shown, None).await?.records
        } else {
            Vec::new()
        };
        let breach = self.breach(None, found, &records);
        Ok(self.verdict(found, breach.into_iter().collect(), records))
    }

    /// Reads all records: the database cannot evaluate the hours.
    async fn run_outside_hours<DB: AuditDatabase>(
        &self,
        reading: &Reading<DB>,
        hours: &OfficeHours,
    ) -> Result<Verdict, Error> {
        let zone = hours
            .zone()
            .map_err(|error| Error::InvalidQuery(error.to_string()))?;
        let (mut found, mut records) = (0, Vec::new());
        let count = |record: AuditRecord| {
            let at = record.recorded_at.unwrap_or(record.occurred_at);
            if !hours.contain(at, &zone) {
                found += 1;
                if records.len() < usize::from(MAX_LISTED) {
                    records.push(record);
                }
            }
            Ok::<_, Error>(())
        };
        reading.for_each(&self.query, count).await?;
        if found <= self.at_most {
            records.clear();
        }
        let breach = self.breach(None, found, &records);
        Ok(self.verdict(found, breach.into_iter().collect(), records))
    }

    async fn run_per_value<DB: AuditDatabase>(
        &self,
        reading: &Reading<DB>,
        group: GroupBy,
    ) -> Result<Verdict, Error> {
        let counts = reading.summary(&self.query, group).await?;
        let is_truncated = counts.len() >= MAX_VALUES;
        if is_truncated && group.period_length().is_some() {
            let what = format!(
                "a review cannot count more than {MAX_VALUES} months, weeks, days or hours one by one: choose a shorter period with since and until"
            );
            return Err(Error::InvalidQuery(what));
        }
        let is_breach = |count: &&Count| self.breach(None, count.records, &[]).is_some();
        let breaching: Vec<&Count> = counts.iter().filter(is_breach).collect();
        // Divided equally, so that the first breach does not crowd out the others.
        let share =
            u16::try_from(breaching.len()).map_or(1, |breaches| MAX_LISTED / breaches.max(1));
        let (mut breaches, mut records) = (Vec::new(), Vec::new());
        for Count {
            value,
            records: found,
        } in breaching
        {
            let listed = match group.narrow(&self.query, value) {
                Some(query) => {
                    reading
                        .page(&query.limit(share.max(1)), None)
                        .await?
                        .records
                }
                // Records without a value cannot be queried.
                None => Vec::new(),
            };
            breaches.extend(self.breach(Some(value), *found, &listed));
            records.extend(listed);
        }
        // Values other than periods are sorted by count: one that was left out can only exceed the
        // bound if all [`MAX_VALUES`] returned ones do.
        let found = if is_truncated {
            reading.count(&self.query).await?
        } else {
            counts.iter().map(|it| it.records).sum()
        };
        Ok(self.verdict(found, breaches, records))
    }

    fn breach(&self, value: Option<&String>, found: u64, listed: &[AuditRecord]) -> Option<Breach> {
        let is_within = (self.at_least..=self.at_most).contains(&found);
        (!is_within).then(|| Breach {
            value: value.cloned(),
            found,
            listed: listed.len() as u64,
            at_least: self.at_least,
            at_most: (self.at_most < u64::MAX).then_some(self.at_most),
        })
    }

    fn verdict(&self, found: u64, breaches: Vec<Breach>, records: Vec<AuditRecord>) -> Verdict {
        Verdict {
            name: self.name.clone(),
            description: self.description.clone(),
            passed: breaches.is_empty(),
            found,
            breaches,
            records,
        }
    }
}
