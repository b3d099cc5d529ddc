//! Reviews: questions with the answer that is expected, which a nightly job asks.
//!
//! Feature `review`.
//!
//! ```toml
//! [denied-service-accounts]
//! description = "Service accounts are refused nothing"
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
//! for review in Review::all(&std::fs::read_to_string("reviews.toml")?)? {
//!     let verdict = review.run(&reader.asked_by(Actor::system("nightly"))).await?;
//!     if !verdict.holds {
//!         println!("{}: {} records", verdict.name, verdict.found);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A table is a review, and its name the review's. Its conditions are those of [`AuditQuery`], each a
//! text or a list of texts; `since` and `until` take what [`moment`](crate::query::moment) does. Each reading leaves its record, as all do.

mod file;
mod hours;
mod run;

pub use file::ReviewError;
pub use hours::{Day, OfficeHours};
pub use run::{Breach, Verdict};

use crate::query::{AuditQuery, GroupBy};

/// A question with the answer that is expected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Review {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Which records are counted.
    pub query: AuditQuery,
    /// Of these, only the ones that were recorded outside these hours.
    pub outside: Option<OfficeHours>,
    /// Count for each value of this; the bound is each one's.
    pub per: Option<GroupBy>,
    /// How many there have to be.
    pub at_least: u64,
    /// How many there may be.
    pub at_most: u64,
}
