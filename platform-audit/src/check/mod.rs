//! What would let a change be committed without its record, or a record be changed: found before
//! it happens, each with its remedy.
//!
//! [`AuditBuilder::start`](crate::AuditBuilder::start) looks and does not start a service on a
//! database that would not hold the promise, unless it is told that this is
//! [development](crate::AuditBuilder::development). [`AuditBuilder::check`](crate::AuditBuilder::check)
//! and the command `platform-audit check` look at any time.

mod differences;
mod explanation;
mod finding;
mod report;

pub(crate) use differences::{Catalog, differences};
pub use explanation::{Explanation, Trusted};
pub(crate) use finding::Found;
pub use finding::{Finding, FindingKind};
pub use report::Report;
