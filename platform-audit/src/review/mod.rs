//! Reviews: queries with an expected number of results, for a nightly job.
//!
//! Feature `review`.
//!
//! ```toml
//! [denied-service-accounts]
//! description = "No service account was denied access"
//! actor_kind = "service"
//! outcome = "denied"
//! since = "1d"
//! at_most = 0
//!
//! [erased-outside-office-hours]
//! description = "Nobody erases outside office hours"
//! action = "entry.erase"
//! since = "1d"
//! outside = { from = "08:00", until = "18:00", time_zone = "Europe/Berlin" }
//! at_most = 0
//!
//! [curious]
//! description = "Nobody reads more than 200 patients a day"
//! action = "patient.read"
//! since = "1d"
//! per = "actor"
//! at_most = 200
//!
//! [backup]
//! action = "backup.run"
//! outcome = "success"
//! since = "25h"
//! at_least = 1
//! ```
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! use platform_audit::Actor;
//! use platform_audit::query::AuditReader;
//! use platform_audit::review::Review;
//!
//! let reader = AuditReader::new(pool, "accounting")?;
//! for review in Review::parse_all(&std::fs::read_to_string("reviews.toml")?)? {
//!     let verdict = review.run(&reader.read_as(Actor::system("nightly"))).await?;
//!     if !verdict.passed {
//!         println!("{}: {} records", verdict.name, verdict.found);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each table is a review, named by its key. Its conditions are those of [`AuditQuery`], each a
//! string or a list of strings; `since` and `until` are parsed by
//! [`parse_time`](crate::query::parse_time). Every read is recorded, as always.

mod file;
mod hours;
mod run;

pub use file::ReviewError;
pub use hours::{Day, OfficeHours};
pub use run::{Breach, Verdict};

use crate::query::{AuditQuery, GroupBy};

/// A query with an expected number of results.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Review {
    /// The review's name.
    pub name: String,
    /// A description of what the review checks, for display.
    pub description: Option<String>,
    /// The records to count.
    pub query: AuditQuery,
    /// Counts only records written outside these hours.
    pub outside: Option<OfficeHours>,
    /// Counts separately for each value of this attribute; the bounds apply to each value.
    pub per: Option<GroupBy>,
    /// Minimum number of records.
    pub at_least: u64,
    /// Maximum number of records.
    pub at_most: u64,
}
