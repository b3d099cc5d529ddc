use serde::Serialize;

use super::{OfficeHours, Review};
use crate::error::Error;
use crate::query::{Count, GroupBy, MOST_VALUES, Reading};
use crate::record::AuditRecord;
use crate::store::AuditDatabase;

/// Most records that a verdict lists; where there are more breaches, one of each.
const SHOWN: u16 = 100;

/// What a review found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The review's name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether all is as expected.
    pub holds: bool,
    /// How many records there are that the review counts.
    pub found: u64,
    /// What is not as expected.
    pub breaches: Vec<Breach>,
    /// The records of these, breach by breach, each newest first: of each as many as its `listed` says.
    /// At most 100 in all, in which each breach has an equal share, but one of each at least.
    pub records: Vec<AuditRecord>,
}

/// A number that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Breach {
    /// Of what, where the review counts for each value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many there are.
    pub found: u64,
    /// How many of them are listed.
    pub listed: u64,
    /// How many there have to be.
    pub at_least: u64,
    /// How many there may be, if there is a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

impl Review {
    /// Asks, and compares with what is expected.
    ///
    /// # Errors
    ///
    /// Those of [`Reading::page`].
    pub async fn run<DB: AuditDatabase>(&self, reading: &Reading<DB>) -> Result<Verdict, Error> {
        match (self.per, &self.outside) {
            (Some(group), _) => self.each(reading, group).await,
            (None, Some(hours)) => self.outside(reading, hours).await,
            (None, None) => self.all_together(reading).await,
        }
    }

    async fn all_together<DB: AuditDatabase>(
        &self,
        reading: &Reading<DB>,
    ) -> Result<Verdict, Error> {
        let found = reading.count(&self.query).await?;
        let records = if found > self.at_most {
            let shown = self.query.clone().limit(SHOWN);
            reading.page(&shown, None).await?.records
        } else {
            Vec::new()
        };
        let breach = self.breach(None, found, &records);
        Ok(self.verdict(found, breach.into_iter().collect(), records))
    }

    /// The database does not know the hours, so all records are read.
    async fn outside<DB: AuditDatabase>(
        &self,
        reading: &Reading<DB>,
        hours: &OfficeHours,
    ) -> Result<Verdict, Error> {
        let zone = hours
            .zone()
            .map_err(|error| Error::InvalidQuery(error.to_string()))?;
        let (mut found, mut records) = (0, Vec::new());
        let take = |record: AuditRecord| {
            let at = record.recorded_at.unwrap_or(record.occurred_at);
            if !hours.hold(at, &zone) {
                found += 1;
                if records.len() < usize::from(SHOWN) {
                    records.push(record);
                }
            }
            Ok::<_, Error>(())
        };
        reading.each(&self.query, take).await?;
        if found <= self.at_most {
            records.clear();
        }
        let breach = self.breach(None, found, &records);
        Ok(self.verdict(found, breach.into_iter().collect(), records))
    }

    async fn each<DB: AuditDatabase>(
        &self,
        reading: &Reading<DB>,
        group: GroupBy,
    ) -> Result<Verdict, Error> {
        let counts = reading.summary(&self.query, group).await?;
        let is_cut = counts.len() >= MOST_VALUES;
        if is_cut && group.length().is_some() {
            let what = format!(
                "more than {MOST_VALUES} months, weeks, days or hours cannot be reviewed one by one: name a shorter period with since and until"
            );
            return Err(Error::InvalidQuery(what));
        }
        let is_breach = |count: &&Count| self.breach(None, count.records, &[]).is_some();
        let breaching: Vec<&Count> = counts.iter().filter(is_breach).collect();
        // So that the first does not hide the others.
        let share = u16::try_from(breaching.len()).map_or(1, |breaches| SHOWN / breaches.max(1));
        let (mut breaches, mut records) = (Vec::new(), Vec::new());
        for Count {
            value,
            records: found,
        } in breaching
        {
            let listed = match group.only(&self.query, value) {
                Some(query) => {
                    reading
                        .page(&query.limit(share.max(1)), None)
                        .await?
                        .records
                }
                // Of those that have no value, it cannot be asked.
                None => Vec::new(),
            };
            breaches.extend(self.breach(Some(value), *found, &listed));
            records.extend(listed);
        }
        // Of other values the most frequent come first: none that is left out is above the bound
        // unless a thousand are.
        let found = if is_cut {
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
            holds: breaches.is_empty(),
            found,
            breaches,
            records,
        }
    }
}
